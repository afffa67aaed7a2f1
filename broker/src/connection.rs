//! One WebSocket: its socket, what it subscribes to, and what waits to be written. [hot]
//!
//! A connection lives on its worker's thread. Its own task reads, and writes when the socket was full;
//! the worker's rounds write to it directly. An idle connection holds no buffer and no timer.

mod closing;
mod delivery;
mod native;
pub(crate) use native::{HISTORY_BYTES_MAX, HISTORY_COUNT_MAX};
mod outbox;
mod raw;
mod reading;
pub(crate) mod session;
mod subscribe;
pub(crate) mod subscription;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fanfare_protocol::{CloseCode, OnLag};
use slab::Slab;
use tokio::net::TcpStream;

use crate::access::Grant;
use crate::topic::publication::Encoding;
use crate::websocket::{Decoder, Outgoing};
use crate::worker::Worker;
use closing::Ending;
pub(crate) use delivery::{PumpEnd, Taken};
use outbox::Outbox;
use session::Session;
use subscription::Subscription;

/// While so many bytes wait to be written, nothing more is taken in: a peer that asks and does not read
/// the answers waits for itself.
const UNREAD_REPLIES_MAX: usize = 256 * 1024;
/// And it is taken in again when no more than so many wait.
const UNREAD_REPLIES_RESUME: usize = UNREAD_REPLIES_MAX / 2;
/// Reads in a row before others have their turn.
const READS_PER_TURN: usize = 8;

/// A connection's name, unique in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    pub(crate) fn new(id: u64) -> Self {
        Self(NonZeroU64::new(id).expect("ids count from 1"))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What the HTTP request asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) encoding: Encoding,
    /// `None`: the credentials were bad, which the connection is to be told by its close code.
    pub(crate) grant: Option<Arc<Grant>>,
    /// A raw connection's one subscription.
    pub(crate) raw: Option<RawRequest>,
}

/// What a raw connection subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct RawRequest {
    pub(crate) topic: fanfare_protocol::TopicName,
    pub(crate) history: u64,
    pub(crate) echo: bool,
    pub(crate) on_lag: OnLag,
}

/// One WebSocket.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Its key in its worker.
    pub(crate) key: usize,
    pub(crate) encoding: Encoding,
    /// A raw connection publishes to its one topic.
    raw_topic: Option<fanfare_protocol::TopicName>,
    worker: Rc<Worker>,
    stream: TcpStream,
    /// The socket takes no more: its own task waits until it does.
    is_blocked: Cell<bool>,
    /// The round at hand has queued something.
    pub(crate) touched: Cell<bool>,
    /// There may be publications of its own.
    has_published: Cell<bool>,
    /// It waits for its worker's next round before it takes in more.
    pub(crate) is_held_up: Cell<bool>,
    /// What the metrics know of the bytes in its outbox.
    reported_queue: Cell<i64>,
    waker: Cell<Option<Waker>>,
    /// Never borrowed across a call that may reach another connection or the worker's topics.
    pub(crate) state: RefCell<State>,
}

/// What changes in a connection's life.
#[derive(Debug)]
pub(crate) struct State {
    decoder: Decoder,
    pub(crate) outbox: Outbox,
    session: Session,
    pub(crate) subscriptions: Slab<Subscription>,
    /// Invariant: how many of the subscriptions are behind.
    pub(crate) behind: usize,
    /// The key of the subscription that caught up last, or a part of the way.
    served: usize,
    /// When the peer was last heard of, in the worker's milliseconds.
    heard_at: u32,
    pinged_at: u32,
    /// Since when a message is on its way in that is not whole.
    amid_since: Option<u32>,
    /// What has been read already is yet to be taken in.
    is_paused: bool,
    phase: Phase,
    /// Why it closed, for the metrics.
    reason: &'static str,
}

/// How far a connection's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What its topics have is still delivered, then it is closed.
    Draining {
        until: u32,
    },
    /// A close frame is the last thing that waits.
    Closing {
        until: u32,
        /// The peer closed first: nothing more comes from it.
        by_peer: bool,
    },
    /// Everything is written; the peer has yet to close its side, or else what it has not read might be
    /// thrown away.
    Lingering {
        until: u32,
    },
    Gone,
}

impl Phase {
    fn is_listening(self) -> bool {
        matches!(self, Self::Open | Self::Draining { .. })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Takes over a socket that has become a WebSocket. `early` is what was read of it beyond the HTTP
    /// request. Returns its life, which ends when it is closed.
    ///
    /// The life is all that its task holds, so an idle connection costs no more than itself.
    pub(crate) fn open(
        worker: Rc<Worker>,
        stream: TcpStream,
        early: &mut [u8],
        request: Request,
    ) -> impl Future<Output = ()> + use<> {
        let hub = Arc::clone(&worker.hub);
        let Request { encoding, grant, raw } = request;
        let is_known = grant.is_some();
        let connection = worker.insert(|key| {
            let now = worker.now_ms();
            Rc::new(Self {
                id: hub.next_connection_id(),
                key,
                encoding,
                raw_topic: raw.as_ref().map(|raw| raw.topic.clone()),
                worker: Rc::clone(&worker),
                stream,
                is_blocked: Cell::new(false),
                touched: Cell::new(false),
                has_published: Cell::new(false),
                is_held_up: Cell::new(false),
                reported_queue: Cell::new(0),
                waker: Cell::new(None),
                state: RefCell::new(State {
                    decoder: Decoder::default(),
                    outbox: Outbox::default(),
                    session: Session::new(grant.unwrap_or_default()),
                    subscriptions: Slab::new(),
                    behind: 0,
                    served: 0,
                    heard_at: now,
                    pinged_at: now,
                    amid_since: None,
                    is_paused: false,
                    phase: Phase::Open,
                    reason: "lost",
                }),
            })
        });
        hub.metrics.opened(encoding);
        let ending = Ending(Rc::clone(&connection));
        if !is_known {
            connection.close(CloseCode::UNAUTHORIZED, "the token is not known");
        } else if let Some(raw) = raw {
            connection.start_raw(&raw);
        }
        if hub.is_draining() {
            // It came while the others were being closed.
            connection.close_after_delivery();
        }
        if !early.is_empty() {
            connection.receive(early);
        }
        std::future::poll_fn(move |cx| ending.0.poll(cx))
    }

    /// Wakes the connection's own task.
    pub(crate) fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        self.waker.set(waker);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Reads and writes as far as the socket lets it; ready when the connection is gone.
    fn poll(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.take().is_some_and(|waker| {
            let same = waker.will_wake(cx.waker());
            self.waker.set(Some(waker));
            same
        }) {
            self.waker.set(Some(cx.waker().clone()));
        }
        for _ in 0..READS_PER_TURN {
            if self.is_blocked.get() {
                match self.stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => self.is_blocked.set(false),
                    Poll::Ready(Err(_)) => self.lose(),
                    Poll::Pending => {}
                }
            }
            let pumped = if self.is_blocked.get() { PumpEnd::Blocked } else { self.pump() };
            if self.state.borrow().phase == Phase::Gone {
                return Poll::Ready(());
            }
            if pumped == PumpEnd::Blocked
                && self.is_blocked.get()
                && self.stream.poll_write_ready(cx).is_ready()
            {
                // Writable again meanwhile: the next turn goes on.
                self.is_blocked.set(false);
                continue;
            }
            if pumped == PumpEnd::Yield {
                break;
            }
            let (unread, is_paused) = {
                let state = self.state.borrow();
                (state.outbox.len(), state.is_paused)
            };
            if unread > if is_paused { UNREAD_REPLIES_RESUME } else { UNREAD_REPLIES_MAX } {
                return Poll::Pending;
            }
            if is_paused && self.worker.is_full() {
                self.worker.hold_up(self);
                return Poll::Pending;
            }
            if is_paused {
                self.receive(&mut []);
                continue;
            }
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.lose(),
                Poll::Ready(Ok(())) => self.read(),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether what the peer sends still counts.
    fn is_listening(&self) -> bool {
        self.state.borrow().phase.is_listening()
    }

    /// Looks after deadlines and pings.
    pub(crate) fn sweep(self: &Rc<Self>, now: u32) {
        let limits = &self.worker.hub.config.limits;
        let ping_ms = limits.ping_interval.as_millis() as u32;
        let state = self.state.borrow();
        let passed = |at: u32| now.wrapping_sub(at) < u32::MAX / 2;
        match state.phase {
            Phase::Draining { until } | Phase::Closing { until, .. } | Phase::Lingering { until } => {
                drop(state);
                if passed(until) {
                    self.abandon();
                }
                return;
            }
            Phase::Gone => return,
            Phase::Open => {}
        }
        let silent_ms = now.wrapping_sub(state.heard_at);
        let is_amid_too_long = state
            .amid_since
            .is_some_and(|since| u128::from(now.wrapping_sub(since)) > limits.message_timeout.as_millis());
        let is_ping_due = now.wrapping_sub(state.pinged_at) >= ping_ms;
        let is_stuck = self.is_blocked.get() && state.behind > 0;
        drop(state);
        if silent_ms >= ping_ms.saturating_mul(2) {
            self.close(CloseCode::TIMEOUT, "nothing was heard for two ping intervals");
        } else if is_amid_too_long {
            self.close(CloseCode::TIMEOUT, "a message was not whole in time");
        } else if let Some(topic) = is_stuck.then(|| self.lost_topic()).flatten() {
            self.close_too_slow(&topic);
        } else if is_ping_due {
            self.ping(now);
        }
    }

    fn ping(self: &Rc<Self>, now: u32) {
        let mut state = self.state.borrow_mut();
        state.pinged_at = now;
        if !state.outbox.is_full_of_control() {
            state.outbox.push_control(&[Outgoing::Ping as u8, 0]);
            drop(state);
            self.wake();
        }
    }
}
