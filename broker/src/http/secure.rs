//! The beginning of a connection that is secured: TLS, before anything is said in it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::write_timeout::WriteTimeout;
use crate::stream::{Secured, Stream, Unsecured};
use crate::tls::Tls;
use crate::tls::metrics::TlsMetrics;

/// What is answered to whoever does not speak TLS where TLS is spoken.
const TLS_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 45\r\nconnection: close\r\n\r\nthis port speaks TLS: use https:// or wss://\n";
/// What is answered to whoever speaks TLS where it is not spoken: no TLS, which is what its library will say.
pub(super) const NO_TLS_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 51\r\nconnection: close\r\n\r\nthis port does not speak TLS: use http:// or ws://\n";
/// The time for which one may take nothing of why it is refused.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// The first byte of whoever speaks TLS, and of nobody who speaks HTTP.
pub(super) const TLS_BEGINS: u8 = 22;

/// Why a connection did not become a secured one, as a label of the metrics.
pub(super) type Reason = &'static str;

/// What the connections of a listener are secured by.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    tls: Arc<Tls>,
    metrics: Arc<TlsMetrics>,
}

impl Security {
    pub(crate) fn new(tls: &Arc<Tls>, metrics: &Arc<TlsMetrics>) -> Self {
        Self { tls: Arc::clone(tls), metrics: Arc::clone(metrics) }
    }

    /// Begins to speak TLS on a socket, until `deadline`; `poll_turn` is asked before each step that costs something, and
    /// `spent` is told what it cost. Nothing where that comes to nothing because `stop` is cancelled or the peer has gone.
    ///
    /// # Errors
    /// Why the peer was refused. It was told.
    pub(super) async fn begin(
        &self,
        tcp: TcpStream,
        deadline: Instant,
        stop: &CancellationToken,
        mut poll_turn: impl FnMut(&Context<'_>) -> Poll<()>,
        mut spent: impl FnMut(Duration),
    ) -> Result<Option<Stream>, Reason> {
        let mut secured = match Secured::new(tcp, self.tls.server()) {
            Ok(secured) => secured,
            Err(error) => {
                tracing::warn!(%error, "TLS cannot begin");
                return Err("tls");
            }
        };
        let beginning = poll_fn(|cx| {
            let mut began = None;
            let polled = secured.poll_begin(cx, |cx| {
                let turn = poll_turn(cx);
                // The first: what comes after it costs as well.
                began = began.or_else(|| turn.is_ready().then(Instant::now));
                turn
            });
            if let Some(began) = began {
                spent(began.elapsed());
            }
            polled
        });
        let begun = match stop.run_until_cancelled(tokio::time::timeout_at(deadline, beginning)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err("timeout"),
            Some(Ok(begun)) => begun,
        };
        match begun {
            Ok(kind) => {
                self.metrics.began(self.tls.listener(), kind);
                Ok(Some(Stream::Secured(secured)))
            }
            Err(Unsecured::Gone) => Ok(None),
            Err(Unsecured::NoTls(first)) => {
                let (tcp, _) = secured.into_failed();
                if first.is_ascii_uppercase() {
                    say_and_wait(tcp.into(), TLS_HERE).await;
                }
                Err("not_tls")
            }
            Err(Unsecured::Refused(error)) => {
                tracing::debug!(%error, listener = self.tls.listener(), "a TLS handshake failed");
                let (tcp, why) = secured.into_failed();
                say_and_wait(tcp.into(), &why).await;
                Err("tls")
            }
        }
    }
}

/// Says something last, and waits for a while until it is read: what the peer sends meanwhile would destroy it.
pub(super) async fn say_and_wait(stream: Stream, last: &[u8]) {
    let mut stream = WriteTimeout::new(stream, WRITE_TIMEOUT, Arc::default());
    if stream.write_all(last).await.is_ok() {
        drop(stream.shutdown().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_how_long_they_are() {
        for answer in [TLS_HERE, NO_TLS_HERE] {
            let answer = str::from_utf8(answer).expect("text");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
        }
    }
}
