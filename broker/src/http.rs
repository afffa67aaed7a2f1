//! HTTP: the way into a WebSocket, and the API of the public listener.
//!
//! It must not know what anyone may do, which the operations ask the grant, nor what a WebSocket says once it is one.

pub(crate) mod admin;
mod api;
mod batch;
mod body;
mod bounded;
mod credentials;
pub(crate) mod full;
mod head;
mod held;
pub(crate) mod metrics;
mod origin;
mod problem;
mod publish;
mod publisher;
mod publishing;
mod query;
mod question;
mod request_context;
mod talk;
mod topic_path;
mod upgrade;
mod watched_body;
mod write_timeout;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::connection::Connection;
use crate::hub::Hub;
use crate::inbox::Socket;
use crate::permit::Permit;
use crate::relief::Relief;
use crate::route::Route;
use crate::worker::gate::Place;
use crate::worker::{Doors, Worker};
use crate::workers::stats::Wait;
use metrics::HttpMetrics;
use problem::Problem;
use request_context::RequestContext;
use talk::KeepAlive;
use upgrade::Upgrade;
use watched_body::WatchedBody;
use write_timeout::WriteTimeout;

/// The time for which a browser may remember what a preflight said.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What a worker answers the requests of the public listener with.
#[derive(Debug)]
pub(crate) struct Public {
    /// The routes for requests that are no page's.
    plain: Router,
    /// The routes for requests with an `Origin`: what a page is told as well takes longer to write than many
    /// an answer.
    for_pages: Router,
    /// What answers say of the time for which their connection is kept.
    keep_alive: KeepAlive,
    metrics: Arc<HttpMetrics>,
}

impl Public {
    pub(crate) fn new(hub: &Arc<Hub>, worker: usize, metrics: Arc<HttpMetrics>) -> Arc<Self> {
        let routes = public_routes(RequestContext { hub: Arc::clone(hub), worker });
        Arc::new(Self {
            plain: routes.clone(),
            for_pages: routes.layer(cors()),
            keep_alive: KeepAlive::new(&hub.config.limits),
            metrics,
        })
    }

    /// Answers a request, if its head and its origin are good, and counts it.
    async fn answer(&self, hub: &Hub, request: Request) -> Response {
        let started = Instant::now();
        let (route, method) = (Route::of(request.uri().path()), request.method().clone());
        let checked =
            head::check(&request).and_then(|()| origin::check(hub, &self.metrics, request.headers()));
        let mut response = match checked {
            Ok(()) => self.routes_for(request.headers()).oneshot(request).await.into_response(),
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
        .route(Route::Native.template(), get(upgrade::native))
        .route(Route::Raw.template(), get(upgrade::raw))
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
    if hub.access.is_open() {
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
        serve(worker, Self::clone(self), socket, stop)
    }

    fn turn_away(&self, socket: &Socket) {
        full::turn_away(&socket.stream);
    }
}

/// Serves HTTP on a socket until it is closed or becomes a WebSocket. Stops after the request at hand
/// when `stop` is cancelled.
async fn serve(worker: Rc<Worker>, public: Arc<Public>, socket: Socket, stop: CancellationToken) {
    let Socket { stream, permit } = socket;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a socket failed before its first request"),
    };
    let limits = &worker.hub.config.limits;
    let visit = Visit::new(&worker, public, permit);
    let relief = Arc::clone(&visit.relief);
    let service = service_fn(|request| visit.answer(request));
    match talk::talk(stream, limits, &stop, relief, |cx| visit.poll_turn(cx), service).await {
        // One that was kept alive and has nothing more to ask.
        Err(error) if error.is_timeout() && visit.has_asked.get() => {}
        Err(error) => {
            visit.public.metrics.rejected(if error.is_timeout() { "timeout" } else { "bad_http" });
            tracing::debug!(%error, "an HTTP connection ended badly");
        }
        Ok(()) => {}
    }
}

/// A connection that counts until it is over, and is counted where it ends by a panic.
struct Admitted {
    /// `None` where the connection of the WebSocket has it that has come of this.
    permit: Cell<Option<Permit>>,
    worker: Rc<Worker>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Dropped by the end of the connection's task, however it ends.
        if std::thread::panicking() {
            self.worker.hub.panics.count("connection");
        }
    }
}

/// One connection's requests, each answered before the next is read.
struct Visit<'w> {
    worker: &'w Rc<Worker>,
    public: Arc<Public>,
    admitted: Rc<Admitted>,
    relief: Arc<Relief>,
    /// Its place in the line for a turn.
    place: Rc<Place>,
    /// Whether it has asked for anything: one that has, and then says no more, was only kept alive.
    has_asked: Cell<bool>,
    /// Whether a request may begin: one does in each turn of the connection, however many it has sent.
    may_begin: Cell<bool>,
    /// Whether a request has begun, which goes on without the gate: it may hold credit, for which others wait.
    is_answering: Cell<bool>,
}

impl<'w> Visit<'w> {
    fn new(worker: &'w Rc<Worker>, public: Arc<Public>, permit: Permit) -> Self {
        Self {
            worker,
            public,
            admitted: Rc::new(Admitted { permit: Cell::new(Some(permit)), worker: Rc::clone(worker) }),
            relief: Arc::default(),
            place: Rc::default(),
            has_asked: Cell::new(false),
            may_begin: Cell::new(false),
            is_answering: Cell::new(false),
        }
    }

    fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_answering.get() {
            let spawn = |refill| drop(self.worker.tasks.spawn_local(refill));
            ready!(self.worker.gate.poll_turn(&self.place, cx, spawn));
            if let Some(waited) = self.place.waited() {
                self.worker.stats.waited(Wait::Turn, waited);
            }
        }
        self.may_begin.set(true);
        Poll::Ready(())
    }

    /// Answers one request; one that asks for a WebSocket is taken over by its worker.
    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        self.has_asked.set(true);
        while !self.may_begin.replace(false) {
            tokio::task::yield_now().await;
        }
        self.is_answering.set(true);
        let (hub, public) = (&self.worker.hub, &self.public);
        let wants_to_stay = talk::wants_to_stay(&request);
        let (head, body) = request.into_parts();
        let (body, is_whole) = WatchedBody::new(body);
        let request = Request::from_parts(head, Body::new(body));
        let response = public.answer(hub, request).await;
        let mut response = held::charge(hub, response, &self.relief).await;
        if let Some(upgrade) = response.extensions_mut().remove::<Upgrade>() {
            let task = adopt(Rc::clone(self.worker), Rc::clone(&self.admitted), upgrade);
            self.worker.tasks.spawn_local(task);
        } else {
            let is_kept = wants_to_stay && is_whole.load(Ordering::Relaxed) && !hub.is_draining();
            public.keep_alive.tell(&mut response, is_kept);
        }
        self.is_answering.set(false);
        Ok(response)
    }
}

/// Makes a WebSocket of a request, and gives it a task of its own.
async fn adopt(worker: Rc<Worker>, admitted: Rc<Admitted>, upgrade: Upgrade) {
    let Upgrade { on_upgrade, request } = upgrade;
    let Ok(upgraded) = on_upgrade.await else { return };
    let parts =
        upgraded.downcast::<TokioIo<WriteTimeout>>().expect("this is what the connection was made of");
    let mut early = parts.read_buf.to_vec();
    let permit = admitted.permit.take().expect("one request becomes a WebSocket");
    let stream = parts.io.into_inner().into_inner();
    let task = Connection::open(Rc::clone(&worker), stream, &mut early, request, permit);
    worker.tasks.spawn_local(task);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;
    use crate::worker::tests::{leave_no_credit, worker};

    /// A socket that the worker is to serve, and its peer.
    async fn knock(worker: &Worker) -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = accepted.expect("a socket").0.into_std().expect("a socket");
        let permit =
            Permit::take(&worker.hub.connections, 1, &worker.handle().load).expect("it is the first");
        (peer.expect("a socket"), Socket { stream, permit })
    }

    #[tokio::test]
    async fn a_request_that_has_begun_and_gets_its_credit_goes_on_before_all_who_wait_for_a_turn() {
        const CROWD: usize = 200;
        let test = async {
            let worker = worker();
            leave_no_credit(worker.handle());
            let (mut peer, socket) = knock(&worker).await;
            let public = Public::new(&worker.hub, worker.index, HttpMetrics::new(&worker.hub.registry));
            spawn_local(serve(Rc::clone(&worker), public, socket, CancellationToken::new()));
            let post = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
            peer.write_all(post.as_bytes()).await.expect("room");
            while !worker.handle().awaits_credit() {
                yield_now().await;
            }
            let turns = Rc::new(Cell::new(0));
            for _ in 0..CROWD {
                let (worker, turns) = (Rc::clone(&worker), Rc::clone(&turns));
                spawn_local(async move {
                    let place = Rc::default();
                    loop {
                        let spawn = |refill| drop(spawn_local(refill));
                        poll_fn(|cx| worker.gate.poll_turn(&place, cx, spawn)).await;
                        turns.set(turns.get() + 1);
                    }
                });
            }
            while turns.get() < CROWD {
                yield_now().await;
            }
            worker.handle().refill_credit();
            let before = turns.get();
            while worker.hub.table.find("t").is_err() {
                yield_now().await;
            }
            let meanwhile = turns.get() - before;
            assert!(meanwhile < CROWD / 2, "{meanwhile} others had a turn first");
        };
        let test = LocalSet::new().run_until(tokio::time::timeout(Duration::from_secs(10), test)).await;
        test.expect("what waits for credit is published when there is some");
    }
}
