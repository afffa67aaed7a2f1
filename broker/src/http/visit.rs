//! A connection that speaks HTTP, from its first byte until it is closed or becomes a WebSocket.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use arc_swap::Guard;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::asker::Peer;
use super::opening::{FIRST_BYTES, Opening};
use super::secure::{self, NO_TLS_HERE, Security, TLS_BEGINS};
use super::upgrade::Upgrade;
use super::watched_body::WatchedBody;
use super::write_timeout::WriteTimeout;
use super::{Public, full, handshake, held, proxied, talk};
use crate::address::networks::contain;
use crate::connection::Connection;
use crate::connection::request::Request as ConnectionRequest;
use crate::inbox::Socket;
use crate::operation::limit;
use crate::permit::Permit;
use crate::relief::Relief;
use crate::stream::Stream;
use crate::worker::gate::Place;
use crate::worker::{READ_BYTES, Worker};
use crate::workers::stats::Wait;

/// Serves HTTP on a socket until it is closed or becomes a WebSocket. Stops after the request at hand
/// when `stop` is cancelled.
pub(super) async fn serve(worker: Rc<Worker>, public: Arc<Public>, socket: Socket, stop: CancellationToken) {
    let Socket { stream, mut permit, from } = socket;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a socket failed before its first request"),
    };
    let (since, timeout) = (Instant::now(), worker.hub.config().limits.handshake_timeout);
    let mut peer = Peer { address: from, is_proxied: false };
    if proxied::is_expected(&worker.hub.config().server, from) {
        // In TLS nothing can be said yet. Boxed, for most do not come here.
        let is_plain = public.security.is_none();
        let told = Box::pin(proxied::read(&stream, from, since + timeout));
        match stop.run_until_cancelled(told).await {
            None if is_plain => return full::say_and_close(&stream.into()),
            None => return,
            Some(Err(error)) => {
                public.metrics.rejected("proxy_header");
                return tracing::debug!(%error, "a proxy did not say whom it brings");
            }
            Some(Ok(told)) => peer = told,
        }
        // Where a proxy brings one that is trusted as well, those are counted whom that one brings, when it has said so.
        let is_trusted =
            peer.is_proxied && contain(&worker.hub.config().server.trusted_proxies, peer.address);
        if !is_trusted {
            match limit::enter(&worker.hub, peer.address) {
                Ok(counted) => permit.count_among(counted),
                Err(_) => {
                    public.metrics.rejected("address");
                    if is_plain {
                        full::say_too_many(&stream);
                    }
                    return;
                }
            }
        }
    }
    let visit = Visit::new(&worker, public, permit, peer);
    let stream = match &visit.public.security {
        None => stream.into(),
        Some(security) => {
            // Boxed, for those who are not secured do without.
            match Box::pin(visit.secure(security, stream, since + timeout, &stop)).await {
                Some(stream) => stream,
                None => return,
            }
        }
    };
    let mut opening = Opening::new(stream, since);
    opening.read(timeout, &stop, |cx| visit.poll_turn(cx), |read| visit.with_buffer(read)).await;
    if opening.read.is_empty() && stop.is_cancelled() {
        // It may have asked already. Nothing of it was read, so it is told as those are who knock at a stop.
        return full::say_and_close(&opening.stream);
    }
    if opening.read.first() == Some(&TLS_BEGINS) {
        visit.public.metrics.rejected("tls_on_plain");
        return Box::pin(secure::say_and_wait(opening.stream, NO_TLS_HERE)).await;
    }
    if let Some(opening) = visit.open(opening, &stop).await {
        // Boxed, for it is many times as large as the rest, and most do not come here.
        Box::pin(visit.talk(opening, &stop)).await;
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
    peer: Peer,
    admitted: Rc<Admitted>,
    relief: Arc<Relief>,
    /// Its place in the line for a turn.
    place: Rc<Place>,
    /// What its first request is answered, where that is known before hyper has read it.
    answered: Cell<Option<Response>>,
    /// Whether it has asked for anything: one that has, and then says no more, was only kept alive.
    has_asked: Cell<bool>,
    /// Whether a request may begin: one does in each turn of the connection, however many it has sent.
    may_begin: Cell<bool>,
    /// Whether a request has begun, which goes on without the gate: it may hold credit, for which others wait.
    is_answering: Cell<bool>,
}

impl<'w> Visit<'w> {
    fn new(worker: &'w Rc<Worker>, public: Arc<Public>, permit: Permit, peer: Peer) -> Self {
        Self {
            worker,
            public,
            peer,
            admitted: Rc::new(Admitted { permit: Cell::new(Some(permit)), worker: Rc::clone(worker) }),
            relief: Arc::default(),
            place: Rc::default(),
            answered: Cell::default(),
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

    /// Begins to speak TLS with the peer. What each step costs counts among the turns.
    async fn secure(
        &self,
        security: &Security,
        tcp: TcpStream,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> Option<Stream> {
        let gate = &self.worker.gate;
        let poll_turn = |cx: &Context<'_>| {
            let spawn = |refill| drop(self.worker.tasks.spawn_local(refill));
            ready!(gate.poll_handshake_turn(&self.place, cx, spawn));
            if let Some(waited) = self.place.waited() {
                self.worker.stats.waited(Wait::Turn, waited);
            }
            Poll::Ready(())
        };
        match security.begin(tcp, deadline, stop, poll_turn, |took| gate.note_handshake(took)).await {
            Ok(stream) => stream,
            Err(reason) => {
                self.public.metrics.rejected(reason);
                None
            }
        }
    }

    /// Reads into the worker's own buffer, so that nobody who has said nothing yet has one.
    fn with_buffer(&self, read: &mut dyn FnMut(&mut [u8])) {
        let mut scratch = self.worker.scratch.take();
        scratch.resize(READ_BYTES, 0);
        read(&mut scratch[..FIRST_BYTES]);
        self.worker.scratch.set(scratch);
    }

    /// Makes a WebSocket of a connection that asks for one in the usual way. Gives back any other.
    async fn open(&self, opening: Opening, stop: &CancellationToken) -> Option<Opening> {
        let hub = &self.worker.hub;
        let Some(request) = handshake::recognise(&opening.read, hub.config().limits.header_count) else {
            return Some(opening);
        };
        self.is_answering.set(true);
        let mut response =
            talk::last(stop, pin!(self.public.answer_upgrade(hub, self.peer, request))).await?;
        let Some(Upgrade(request)) = response.extensions_mut().remove() else {
            self.answered.set(Some(response));
            return Some(opening);
        };
        let mut stream =
            WriteTimeout::new(opening.stream, hub.config().limits.message_timeout, Arc::clone(&self.relief));
        if let Err(error) = stream.write_all(&handshake::written(&response)).await {
            self.public.metrics.rejected("bad_http");
            tracing::debug!(%error, "an HTTP connection ended badly");
            return None;
        }
        let (stream, _) = stream.into_inner();
        adopt(Rc::clone(self.worker), &self.admitted, stream, &[], request);
        None
    }

    /// Answers what hyper reads.
    async fn talk(&self, opening: Opening, stop: &CancellationToken) {
        let config = Guard::into_inner(self.worker.hub.config());
        let relief = Arc::clone(&self.relief);
        let service = service_fn(|request| self.answer(request));
        match talk::talk(opening, &config.limits, stop, relief, |cx| self.poll_turn(cx), service).await {
            // One that was kept alive and has nothing more to ask.
            Err(error) if error.is_timeout() && self.has_asked.get() => {}
            Err(error) => {
                self.public.metrics.rejected(if error.is_timeout() { "timeout" } else { "bad_http" });
                tracing::debug!(%error, "an HTTP connection ended badly");
            }
            Ok(()) => {}
        }
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
        let mut request = Request::from_parts(head, Body::new(body));
        let on_upgrade = hyper::upgrade::on(&mut request);
        let response = match self.answered.take() {
            Some(response) => response,
            None => public.answer(hub, self.peer, request).await,
        };
        let mut response = held::charge(hub, response, &self.relief).await;
        if let Some(Upgrade(request)) = response.extensions_mut().remove() {
            let (worker, admitted) = (Rc::clone(self.worker), Rc::clone(&self.admitted));
            self.worker.tasks.spawn_local(async move {
                if let Some((stream, early)) = upgraded(on_upgrade).await {
                    adopt(worker, &admitted, stream, &early, request);
                }
            });
        } else {
            let is_kept = wants_to_stay && is_whole.load(Ordering::Relaxed) && !hub.is_draining();
            public.keep_alive.tell(&mut response, is_kept, &hub.config().limits);
        }
        self.is_answering.set(false);
        Ok(response)
    }
}

/// The socket that hyper has answered with a switch of protocols, and what it has read of it beyond the request.
async fn upgraded(on_upgrade: OnUpgrade) -> Option<(Stream, Vec<u8>)> {
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<WriteTimeout>>();
    let parts = parts.expect("this is what the connection was made of");
    let (stream, unread) = parts.io.into_inner().into_inner();
    Some((stream, [parts.read_buf, unread].concat()))
}

/// Makes a WebSocket of a socket, and gives it a task of its own.
fn adopt(worker: Rc<Worker>, admitted: &Admitted, stream: Stream, early: &[u8], request: ConnectionRequest) {
    let permit = admitted.permit.take().expect("one request becomes a WebSocket");
    let task = Connection::open(Rc::clone(&worker), stream, early, request, permit);
    worker.tasks.spawn_local(task);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;
    use crate::http::metrics::HttpMetrics;
    use crate::worker::tests::{leave_no_credit, worker};

    /// A socket that the worker is to serve, and its peer.
    async fn knock(worker: &Worker) -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = accepted.expect("a socket").0.into_std().expect("a socket");
        let permit =
            Permit::take(&worker.hub.connections, 1, &worker.handle().load).expect("it is the first");
        (peer.expect("a socket"), Socket { stream, permit, from: address.ip() })
    }

    #[tokio::test]
    async fn a_request_that_has_begun_and_gets_its_credit_goes_on_before_all_who_wait_for_a_turn() {
        const CROWD: usize = 200;
        let test = async {
            let worker = worker();
            leave_no_credit(worker.handle());
            let (mut peer, socket) = knock(&worker).await;
            let public = Public::new(&worker.hub, worker.index, HttpMetrics::new(&worker.hub.registry), None);
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
