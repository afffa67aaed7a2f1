//! The admin listener: metrics and health, and what an operator looks at and does.

mod control;
mod guard;
mod revocations;
mod top;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arc_swap::Guard;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::api::json;
use super::full::{FULL, Full};
use super::head;
use super::metrics::HttpMetrics;
use super::opening::Opening;
use super::problem::Problem;
use super::secure::Security;
use super::talk::{self, KeepAlive};
use super::watched_body::WatchedBody;
use crate::config::{Changes, LimitsConfig};
use crate::hub::{Hub, Throttle};
use crate::reload::{ReloadError, Reloader};
use guard::Refused;

/// Connections that there may be: file descriptors are set aside for so many, whatever the public listener
/// does.
const CONNECTIONS_MAX: usize = 32;
/// The time for which accepting rests after a failure: descriptors come back when others close.
const SHORT_REST: Duration = Duration::from_millis(50);

/// What all connections to the admin listener have in common.
#[derive(Debug, Clone)]
struct Admin {
    hub: Arc<Hub>,
    metrics: Arc<HttpMetrics>,
    router: Router,
    /// Whether only this machine can reach it.
    is_loopback: bool,
    /// Keeps whoever tries again and again from filling the log.
    refused: Arc<Throttle>,
    stop: CancellationToken,
}

/// Serves the admin listener until `stop` is cancelled. Its connections are tasks of `tasks`.
pub(crate) async fn run(
    (hub, reloader, metrics): (&Arc<Hub>, &Arc<Reloader>, &Arc<HttpMetrics>),
    listener: &TcpListener,
    security: Option<&Security>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let admin = Admin {
        hub: Arc::clone(hub),
        metrics: Arc::clone(metrics),
        router: routes(Arc::clone(hub), Arc::clone(reloader)),
        is_loopback: listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        refused: Arc::default(),
        stop: stop.clone(),
    };
    let (permits, full) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Full::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "the admin listener cannot accept");
                tokio::time::sleep(SHORT_REST).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            if security.is_none() {
                full.turn_away(stream, FULL, tasks);
            }
            continue;
        };
        let serving = serve(admin.clone(), stream, peer, security.cloned());
        tasks.spawn(async move {
            let _permit = permit;
            serving.await;
        });
    }
}

async fn serve(admin: Admin, stream: TcpStream, peer: SocketAddr, security: Option<Security>) {
    let config = Guard::into_inner(admin.hub.config());
    let limits = &config.limits;
    let keep_alive = KeepAlive::new(limits);
    let service = service_fn(|request| answer(&admin, peer, request, (&keep_alive, limits)));
    let stop = &admin.stop;
    let since = Instant::now();
    let stream = match security {
        None => stream.into(),
        Some(security) => {
            let deadline = since + limits.handshake_timeout;
            match security.begin(stream, deadline, stop, |_| Poll::Ready(()), drop).await {
                Ok(Some(stream)) => stream,
                Ok(None) => return,
                Err(reason) => {
                    return tracing::debug!(reason, "a connection to the admin listener was refused");
                }
            }
        }
    };
    let opening = Opening::new(stream, since);
    if let Err(error) = talk::talk(opening, limits, stop, Arc::default(), |_| Poll::Ready(()), service).await
    {
        tracing::debug!(%error, "a connection to the admin listener ended badly");
    }
}

async fn answer(
    admin: &Admin,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
    (keep_alive, limits): (&KeepAlive, &LimitsConfig),
) -> Result<Response, Infallible> {
    let wants_to_stay = talk::wants_to_stay(&request);
    let (head, body) = request.into_parts();
    let (body, is_whole) = WatchedBody::new(body);
    let request = hyper::Request::from_parts(head, Body::new(body));
    let mut response = match head::check(&request).and_then(|()| admin.check(peer, &request)) {
        Ok(()) => admin.router.clone().oneshot(request).await?,
        Err(problem) => problem.into_response(),
    };
    let is_kept = wants_to_stay && is_whole.load(Ordering::Relaxed) && !admin.stop.is_cancelled();
    keep_alive.tell(&mut response, is_kept, limits);
    Ok(response)
}

impl Admin {
    /// Refuses a request of whoever may not ask, and says so in the log.
    fn check<B>(&self, peer: SocketAddr, request: &hyper::Request<B>) -> Result<(), Problem> {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        guard::check(&self.hub.admin(), self.is_loopback, method, path, headers).map_err(|why: Refused| {
            self.metrics.admin_refused(why.name());
            if let Some(unlogged) = self.refused.may_log() {
                tracing::warn!(%peer, why = why.name(), unlogged, "refused a request to the admin listener");
            }
            why.into()
        })
    }
}

/// The routes of the admin listener.
fn routes(hub: Arc<Hub>, reloader: Arc<Reloader>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/v1/reload", post(reload).with_state(reloader))
        .route("/v1/connections", get(control::connections))
        .route("/v1/connections/{id}", get(control::connection).delete(control::close))
        .route("/v1/connections/{id}/subscriptions/{topic}", delete(control::end_subscription))
        .route("/v1/revocations", get(revocations::revocations).post(revocations::revoke))
        .route("/v1/top", get(top::top))
        .route("/v1/users", get(control::users))
        .route("/v1/users/{user}/connections", delete(control::close_user))
        .fallback(async || {
            let what = "there are /metrics, /livez, /readyz and /v1/ here (docs/operations.md)";
            Problem::new(StatusCode::NOT_FOUND, "not_found", what)
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
        .with_state(hub)
}

async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], hub.registry.text())
        .into_response()
}

/// Whether everything runs that should: a worker that hangs is helped by a restart alone.
async fn live(State(hub): State<Arc<Hub>>) -> Response {
    match hub.workers.iter().position(|worker| worker.heartbeat.is_hung()) {
        Some(worker) => {
            let age = hub.workers[worker].heartbeat.age().as_secs_f64();
            let why = format!("worker {worker} has not run for {age:.0} s\n");
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
        None => "ok\n".into_response(),
    }
}

/// Whether new connections should be sent here. Liveness says nothing of it: restarting a broker that
/// stops in peace helps nobody.
async fn ready(State(hub): State<Arc<Hub>>) -> Response {
    if hub.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// Reads the configuration again, and says what that changes.
async fn reload(State(reloader): State<Arc<Reloader>>) -> Result<Response, Problem> {
    let Changes { applied, needs_restart } = reloader.reload().await.map_err(|error| {
        let (status, code) = match error {
            ReloadError::UnderWay => (StatusCode::CONFLICT, "limit_exceeded"),
            ReloadError::NoSource => (StatusCode::NOT_FOUND, "not_found"),
            ReloadError::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            ReloadError::Config(_) | ReloadError::Capacity(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "bad_request")
            }
        };
        Problem::new(status, code, error.to_string())
    })?;
    Ok(json(&serde_json::json!({ "applied": applied, "needs_restart": needs_restart })))
}
