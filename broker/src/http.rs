//! HTTP: the way into a WebSocket, and the API of the public listener.

pub(crate) mod admin;
mod api;
mod origin;
mod patient;
mod problem;
mod topic_path;
mod upgrade;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::acceptor::Admitted;
use crate::connection::Connection;
use crate::hub::Hub;
use crate::worker::Worker;
use crate::worker::handle::Socket;
use patient::Patient;
use problem::Problem;
use upgrade::Upgrade;

/// The routes of the public listener.
pub(crate) fn public_routes(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/", get(welcome))
        .route("/ws", get(upgrade::native))
        .route("/ws/{*topic}", get(upgrade::raw))
        .route("/v1/messages", post(api::publish_batch))
        .route("/v1/topics", get(api::list_topics))
        .route("/v1/topics/{topic}", get(api::topic))
        .route("/v1/topics/{topic}/messages", get(api::history).post(api::publish))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&hub), guard))
        .with_state(hub)
}

/// What every request goes through: the check of its origin, and counting.
async fn guard(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let allowed = match origin::check(&hub, request.headers()) {
        Err(refused) => {
            hub.metrics.rejected("origin");
            return refused.into_response();
        }
        Ok(origin) => origin,
    };
    let mut response = match (&allowed, &method) {
        (Some(_), &Method::OPTIONS) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, header::HeaderValue::from_static("origin"));
        if method == Method::OPTIONS {
            let allow = |text| header::HeaderValue::from_static(text);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow("GET, POST"));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                allow("authorization, content-type, idempotency-key"),
            );
        }
    }
    let method = if method == Method::GET || method == Method::POST { method.as_str() } else { "other" };
    hub.metrics.http(
        route.as_deref().unwrap_or("other"),
        method,
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

/// A page to try the broker with, where anybody may do everything anyway.
async fn welcome(State(hub): State<Arc<Hub>>) -> Response {
    if hub.access.is_open() {
        Html(include_str!("http/welcome.html")).into_response()
    } else {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here").into_response()
    }
}

/// Serves HTTP on a socket until it is closed or becomes a WebSocket. Stops after the request at hand
/// when `stop` is cancelled.
pub(crate) async fn serve(worker: Rc<Worker>, socket: Socket, stop: CancellationToken) {
    let Socket { stream, admitted } = socket;
    let limits = &worker.hub.config.limits;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => Patient::new(stream, limits.message_timeout),
        Err(error) => return tracing::debug!(%error, "a socket failed before its first request"),
    };
    let admitted = Rc::new(admitted);
    let has_asked = Cell::new(false);
    let service = service_fn(|request| {
        has_asked.set(true);
        answer(Rc::clone(&worker), Rc::clone(&admitted), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(limits.header_size.as_u64() as usize)
        .max_headers(limits.header_count)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // The request at hand may still be answered.
            match tokio::time::timeout(Duration::from_secs(2), connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    match result {
        // One that was kept alive and has nothing more to ask.
        Err(error) if error.is_timeout() && has_asked.get() => {}
        Err(error) => {
            worker.hub.metrics.rejected(if error.is_timeout() { "timeout" } else { "bad_http" });
            tracing::debug!(%error, "an HTTP connection ended badly");
        }
        Ok(()) => {}
    }
}

/// Answers one request; one that asks for a WebSocket is taken over by its worker.
async fn answer(
    worker: Rc<Worker>,
    admitted: Rc<Admitted>,
    request: hyper::Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    let router = admitted.router().clone();
    let mut response = router.oneshot(request.map(Body::new)).await?;
    if let Some(upgrade) = response.extensions_mut().remove::<Upgrade>() {
        let task = adopt(Rc::clone(&worker), admitted, upgrade);
        worker.tasks.spawn_local(task);
    }
    Ok(response)
}

/// Makes a WebSocket of a request, and gives it a task of its own.
async fn adopt(worker: Rc<Worker>, admitted: Rc<Admitted>, upgrade: Upgrade) {
    let Upgrade { on_upgrade, request } = upgrade;
    let Ok(upgraded) = on_upgrade.await else { return };
    let parts = upgraded.downcast::<TokioIo<Patient>>().expect("this is what the connection was made of");
    let mut early = parts.read_buf.to_vec();
    let life = Connection::open(Rc::clone(&worker), parts.io.into_inner().into_inner(), &mut early, request);
    worker.tasks.spawn_local(async move {
        let _admitted = admitted;
        life.await;
    });
}
