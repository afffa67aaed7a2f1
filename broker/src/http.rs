//! HTTP: the way into a WebSocket, and the API of the public listener.
//!
//! It must not know what anyone may do, which the operations ask the grant, nor what a WebSocket says once it is one.

pub(crate) mod admin;
mod api;
mod asker;
mod batch;
mod body;
mod bounded;
mod credentials;
pub(crate) mod full;
mod handshake;
mod head;
mod held;
pub(crate) mod metrics;
mod opening;
mod origin;
mod problem;
mod proxied;
mod publish;
mod publisher;
mod publishing;
mod query;
mod question;
mod request_context;
pub(crate) mod secure;
mod talk;
mod topic_path;
mod upgrade;
mod visit;
mod watched_body;
mod write_timeout;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::hub::Hub;
use crate::inbox::Socket;
use crate::route::Route;
use crate::worker::{Doors, Worker};
use asker::{Asker, Peer};
use metrics::HttpMetrics;
use problem::Problem;
use request_context::RequestContext;
use secure::Security;
use talk::KeepAlive;

/// The time for which a browser may remember what a preflight said.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What a worker answers the requests of the public listener with.
#[derive(Debug)]
pub(crate) struct Public {
    context: RequestContext,
    /// The routes for requests that are no page's.
    plain: Router,
    /// The routes for requests with an `Origin`: what a page is told as well takes longer to write than many
    /// an answer.
    for_pages: Router,
    /// What pages are told.
    cors: CorsLayer,
    /// What answers say of the time for which their connection is kept.
    keep_alive: KeepAlive,
    metrics: Arc<HttpMetrics>,
    /// What its connections are secured by, if they are.
    security: Option<Security>,
}

impl Public {
    pub(crate) fn new(
        hub: &Arc<Hub>,
        worker: usize,
        metrics: Arc<HttpMetrics>,
        security: Option<Security>,
    ) -> Arc<Self> {
        let context = RequestContext { hub: Arc::clone(hub), worker };
        let (routes, cors) = (public_routes(context.clone()), cors());
        Arc::new(Self {
            context,
            plain: routes.clone(),
            for_pages: routes.layer(cors.clone()),
            cors,
            keep_alive: KeepAlive::new(&hub.config().limits),
            metrics,
            security,
        })
    }

    /// Answers a request, if its head and its origin are good, and counts it.
    async fn answer(&self, hub: &Hub, peer: Peer, request: Request) -> Response {
        let is_upgrade = request.method() == Method::GET
            && matches!(Route::of(request.uri().path()), Route::Native | Route::Raw);
        if is_upgrade {
            return self.answer_upgrade(hub, peer, request.map(drop)).await;
        }
        let by_route = async |request: Request| {
            self.routes_for(request.headers()).oneshot(request).await.into_response()
        };
        self.answer_by(hub, peer, request, by_route).await
    }

    /// The same for a `GET` of [`Route::Native`] or [`Route::Raw`], past the routes: it is what is asked for most, and needs
    /// nothing of what they bring along.
    async fn answer_upgrade(&self, hub: &Hub, peer: Peer, request: Request<()>) -> Response {
        let upgrade = async |request| upgrade::answer(&self.context, &request).await.into_response();
        let upgrade_for_pages = async |request| {
            let upgrade = service_fn(async |request| Ok(upgrade(request).await));
            let answered = self.cors.layer(upgrade).oneshot(request).await;
            answered.unwrap_or_else(|never: Infallible| match never {})
        };
        match request.headers().contains_key(header::ORIGIN) {
            // Boxed, or whoever has said nothing yet would hold room for it.
            false => self.answer_by(hub, peer, request, upgrade).await,
            true => Box::pin(self.answer_by(hub, peer, request, upgrade_for_pages)).await,
        }
    }

    async fn answer_by<B>(
        &self,
        hub: &Hub,
        peer: Peer,
        mut request: Request<B>,
        answer: impl AsyncFnOnce(Request<B>) -> Response,
    ) -> Response {
        let started = Instant::now();
        let (route, method) = (Route::of(request.uri().path()), request.method().clone());
        let checked =
            head::check(&request).and_then(|()| origin::check(hub, &self.metrics, request.headers()));
        let checked = checked.and_then(|()| Asker::look_at(hub, peer, &mut request));
        let mut response = match checked {
            Ok(()) => answer(request).await,
            Err(refused) => refused.into_response(),
        };
        if method == Method::GET {
            response = held::if_there_is_capacity(hub, response);
        }
        if method != Method::POST && !response.headers().contains_key(header::VARY) {
            // Another page would be answered otherwise. What a POST was answered nobody keeps.
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
        }
        self.metrics.answered(route, &method, response.status(), started.elapsed());
        response
    }

    fn routes_for(&self, headers: &HeaderMap) -> Router {
        if headers.contains_key(header::ORIGIN) { self.for_pages.clone() } else { self.plain.clone() }
    }
}

/// The routes of the public listener.
fn public_routes(context: RequestContext) -> Router {
    Router::new()
        .route(Route::Welcome.template(), get(welcome))
        .route(Route::Native.template(), get(upgrade::route))
        .route(Route::Raw.template(), get(upgrade::route))
        .route(Route::Messages.template(), post(publish::publish_or_batch).get(api::history))
        .route(Route::Topic.template(), get(api::topic))
        .route(Route::Topics.template(), get(api::list_topics))
        .route(Route::TopicByPath.template(), get(api::topic))
        .route(Route::MessagesByPath.template(), get(api::history).post(publish::publish))
        .fallback(async || nothing_here())
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method")
        })
        .with_state(context)
}

fn nothing_here() -> Problem {
    let detail = "there is nothing here; WebSockets are at /ws and /ws/{topic}, the HTTP API is below /v1/";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// What pages are told. Those that may not ask are refused before.
fn cors() -> CorsLayer {
    let idempotency_key = HeaderName::from_static("idempotency-key");
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, idempotency_key])
        .expose_headers([header::ACCEPT_ENCODING, header::RETRY_AFTER, header::WWW_AUTHENTICATE])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// A page to try the broker with, where anybody may do everything anyway.
async fn welcome(State(hub): State<Arc<Hub>>) -> Response {
    if hub.access().is_open() {
        Html(include_str!("http/welcome.html")).into_response()
    } else {
        nothing_here().into_response()
    }
}

impl Doors for Arc<Public> {
    fn serve(
        &self,
        worker: Rc<Worker>,
        socket: Socket,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + 'static {
        // Boxed, for the runtime moves what it runs from hand to hand.
        Box::pin(visit::serve(worker, Self::clone(self), socket, stop))
    }

    fn turn_away(&self, socket: &Socket) {
        full::turn_away(&socket.stream, self.security.is_some());
    }
}
