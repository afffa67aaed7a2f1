//! One HTTP/1.1 connection, whoever answers it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{HeaderName, HeaderValue, Request, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::opening::Opening;
use super::write_timeout::WriteTimeout;
use crate::config::LimitsConfig;
use crate::relief::Relief;

/// The time for which the request at hand may go on when the broker stops.
const LAST_REQUEST_MAX: Duration = Duration::from_secs(2);
/// The time by which a client should give up a connection that it keeps sooner than the broker: a request that it
/// sends when the broker is about to close would be lost.
const KEPT_LESS: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The runtime's timer, by which the head of the first request is waited for from a moment that has passed.
#[derive(Debug)]
struct TimerSince {
    since: Instant,
    is_asked: AtomicBool,
}

impl Timer for TimerSince {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(deadline)
    }

    fn now(&self) -> std::time::Instant {
        let is_first = !self.is_asked.swap(true, Ordering::Relaxed);
        if is_first { self.since.into_std() } else { TokioTimer::new().now() }
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        TokioTimer::new().reset(sleep, deadline);
    }
}

/// Answers requests until the connection is closed or becomes a WebSocket, or `stop` is cancelled and the
/// request at hand is answered. `poll_turn` is asked before each of its turns, and wakes the task where it is not
/// ready.
///
/// # Errors
/// The peer's: what it sent is no HTTP, or did not come in time.
pub(super) async fn talk<S>(
    opening: Opening,
    limits: &LimitsConfig,
    stop: &CancellationToken,
    relief: Arc<Relief>,
    mut poll_turn: impl FnMut(&Context<'_>) -> Poll<()>,
    service: S,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let Opening { stream, since, read } = opening;
    let stream = WriteTimeout::new(stream, limits.message_timeout, relief).reading_first(read);
    let connection = http1::Builder::new()
        .timer(TimerSince { since, is_asked: AtomicBool::new(false) })
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(limits.header_size.as_u64() as usize)
        .max_headers(limits.header_count)
        // A peer that has no more to say may still be waiting for its answer. One that has gone is noticed
        // by what is written to it, and a body that ends too early by its length.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // What has begun already is answered.
        biased;
        result = turns(connection.as_mut(), &mut poll_turn) => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let last = turns(connection, &mut poll_turn);
            tokio::time::timeout(LAST_REQUEST_MAX, last).await.unwrap_or(Ok(()))
        }
    }
}

/// What the future gives, unless `stop` is cancelled and it takes longer then than the request at hand may.
pub(super) async fn last<F: Future>(stop: &CancellationToken, mut future: Pin<&mut F>) -> Option<F::Output> {
    tokio::select! {
        biased;
        done = future.as_mut() => Some(done),
        () = stop.cancelled() => tokio::time::timeout(LAST_REQUEST_MAX, future).await.ok(),
    }
}

/// The future, polled when it is its turn.
fn turns<F: Future>(
    mut future: Pin<&mut F>,
    poll_turn: &mut impl FnMut(&Context<'_>) -> Poll<()>,
) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        ready!(poll_turn(cx));
        future.as_mut().poll(cx)
    })
}

/// Whether the peer wants to ask again on the same connection.
pub(super) fn wants_to_stay<B>(request: &Request<B>) -> bool {
    let values = request.headers().get_all(header::CONNECTION).iter();
    let mut words = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    request.version() == Version::HTTP_11 && !words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// What an answer says of how long its connection is kept for the next request.
#[derive(Debug)]
pub(super) struct KeepAlive(ArcSwap<Said>);

/// What is said where the head of a request must come within that time.
#[derive(Debug)]
struct Said {
    handshake_timeout: Duration,
    value: Option<HeaderValue>,
}

impl Said {
    fn new(handshake_timeout: Duration) -> Self {
        let seconds = handshake_timeout.saturating_sub(KEPT_LESS).as_secs();
        // A client takes 0 for "at once".
        let value =
            (seconds > 0).then(|| HeaderValue::try_from(format!("timeout={seconds}")).expect("digits"));
        Self { handshake_timeout, value }
    }
}

impl KeepAlive {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        Self(ArcSwap::from_pointee(Said::new(limits.handshake_timeout)))
    }

    /// Has the answer say it, or that its connection is not kept.
    pub(super) fn tell(&self, response: &mut Response, is_kept: bool, limits: &LimitsConfig) {
        if self.0.load().handshake_timeout != limits.handshake_timeout {
            self.0.store(Arc::new(Said::new(limits.handshake_timeout)));
        }
        let headers = response.headers_mut();
        match &self.0.load().value {
            _ if !is_kept => {
                headers.append(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // That it is kept goes without saying in HTTP/1.1.
            Some(timeout) => {
                headers.insert(KEEP_ALIVE, timeout.clone());
            }
            None => {}
        }
    }
}
