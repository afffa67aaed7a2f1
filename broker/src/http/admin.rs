//! The admin listener: metrics and health.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use crate::hub::Hub;

/// The routes of the admin listener.
pub(crate) fn routes(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "there are /metrics, /livez and /readyz here")
        })
        .with_state(hub)
}

async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], hub.metrics.text()).into_response()
}

/// Whether everything runs that should: a worker that hangs is helped by a restart alone.
async fn live(State(hub): State<Arc<Hub>>) -> Response {
    match hub.workers.iter().position(|worker| worker.heartbeat.is_hung()) {
        Some(worker) => {
            let age = hub.workers[worker].heartbeat.age().as_secs();
            let why = format!("worker {worker} has not run for {age} s\n");
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
