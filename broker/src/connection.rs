//! One WebSocket: its socket, what it subscribes to, and what waits to be written. [hot]
//!
//! A connection lives on its worker's thread. Its own task reads, and writes when the socket was full;
//! the worker's rounds write to it directly. An idle connection holds no buffer and no timer.

mod closing;
mod delivery;
mod native;
pub(crate) use native::{HISTORY_BYTES_MAX, HISTORY_COUNT_MAX};
mod liveness;
mod outbox;
mod raw;
mod reading;
pub(crate) mod session;
mod subscribe;
pub(crate) mod subscription;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfare_protocol::{CloseCode, OnLag};
use tokio::net::TcpStream;

use crate::access::Grant;
use crate::metrics::Wait;
use crate::topic::publication::Encoding;
use crate::websocket::{Decoder, Outgoing};
use crate::worker::Worker;
use closing::Ending;
pub(crate) use delivery::{PumpEnd, Taken};
use liveness::Liveness;
use outbox::Outbox;
use reading::Ask;
use session::Session;
use subscription::{Place, Subscriptions};

/// While so many bytes wait to be written, nothing more is taken in: a peer that asks and does not read
/// the answers waits for itself.
const UNREAD_REPLIES_MAX: usize = 256 * 1024;
/// And it is taken in again when no more than so many wait.
const UNREAD_REPLIES_RESUME: usize = UNREAD_REPLIES_MAX / 2;
/// Whoever is closed for want of memory and holds more than this all the same is dropped.
const HELD_AFTER_CLOSE_MAX: usize = 16 * 1024;
/// What a connection holds is charged in steps of so many bytes.
const CHARGE_STEP: usize = 4096;

/// A connection's name, unique in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    pub(crate) fn new(id: u64) -> Self {
        Self(NonZeroU64::new(id).expect("ids count from 1"))
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
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
    /// Since when, in the worker's milliseconds.
    blocked_at: Cell<u32>,
    /// It has taken nothing for so long that nothing more is kept for it than for anybody.
    is_stuck: Cell<bool>,
    /// Its worker looks after it, for it may become stuck.
    is_watched: Cell<bool>,
    /// The round at hand has queued something.
    pub(crate) touched: Cell<bool>,
    /// There may be publications of its own.
    has_published: Cell<bool>,
    /// Since when, in the worker's milliseconds, it has had more to do and stood in line for its next turn.
    in_line_since: Cell<Option<u32>>,
    /// Since when it has stood in line for its worker's credit.
    awaits_credit_since: Cell<Option<u32>>,
    /// It has stood there, and got a share that it may not have used up.
    has_share: Cell<bool>,
    /// Steps of bytes that it holds, as charged.
    charged: Cell<u32>,
    /// To which budget.
    is_charged_as_stranger: Cell<bool>,
    /// What the metrics know of the bytes in its outbox.
    reported_queue: Cell<i64>,
    waker: Cell<Option<Waker>>,
    /// Never borrowed across a call that may reach another connection or the worker's topics.
    pub(crate) state: RefCell<State>,
}

/// With the counts of its `Rc` it fits in what the allocator has for 512 bytes.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() + 16 <= 512);

/// What changes in a connection's life.
#[derive(Debug)]
pub(crate) struct State {
    decoder: Decoder,
    pub(crate) outbox: Outbox,
    session: Session,
    pub(crate) subscriptions: Subscriptions,
    /// What was taken in and is yet to be carried out. Empty it holds no memory.
    backlog: VecDeque<Ask>,
    backlog_bytes: usize,
    /// Invariant: how many of the subscriptions are behind.
    pub(crate) behind: usize,
    /// The key of the subscription that caught up last, or a part of the way.
    served: usize,
    liveness: Liveness,
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
        code: CloseCode,
        reason: &'static str,
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
        match self {
            Self::Open => true,
            // Who broke the rules has said enough.
            Self::Draining { code, .. } => code == CloseCode::SERVICE_RESTART,
            Self::Closing { .. } | Self::Lingering { .. } | Self::Gone => false,
        }
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
    ) -> impl Future<Output = ()> + Unpin + use<> {
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
                blocked_at: Cell::new(now),
                is_stuck: Cell::new(false),
                is_watched: Cell::new(false),
                touched: Cell::new(false),
                has_published: Cell::new(false),
                in_line_since: Cell::new(None),
                awaits_credit_since: Cell::new(None),
                has_share: Cell::new(false),
                charged: Cell::new(0),
                is_charged_as_stranger: Cell::new(false),
                reported_queue: Cell::new(0),
                waker: Cell::new(None),
                state: RefCell::new(State {
                    decoder: Decoder::default(),
                    outbox: Outbox::default(),
                    session: Session::new(grant.unwrap_or_default()),
                    subscriptions: Subscriptions::default(),
                    backlog: VecDeque::new(),
                    backlog_bytes: 0,
                    behind: 0,
                    served: 0,
                    liveness: Liveness::new(now),
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
            connection.restart();
        }
        if !early.is_empty() {
            worker.turns.begin(false);
            connection.receive(early);
        }
        std::future::poll_fn(move |cx| ending.0.poll(cx, false))
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

    /// Reads and writes as far as the socket and its turn let it; ready when the connection is gone. A stranger
    /// only has the turns for which it stood in line.
    fn poll(self: &Rc<Self>, cx: &mut Context<'_>, stood_in_line: bool) -> Poll<()> {
        if self.state.borrow().phase == Phase::Gone {
            return Poll::Ready(());
        }
        if !self.waker.take().is_some_and(|waker| {
            let same = waker.will_wake(cx.waker());
            self.waker.set(Some(waker));
            same
        }) {
            self.waker.set(Some(cx.waker().clone()));
        }
        if self.is_in_line() {
            // It has had its turn, and goes on when it is its turn again.
            return Poll::Pending;
        }
        if !stood_in_line && self.is_stranger() {
            self.worker.turns.line_up(self);
            return Poll::Pending;
        }
        self.worker.turns.begin(stood_in_line);
        let is_gone = self.go_on(cx);
        self.charge();
        is_gone
    }

    fn go_on(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_blocked.get() {
                match self.stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        // The peer has taken something: it lives, whether or not it says anything.
                        self.unblock();
                        self.state.borrow_mut().liveness.heard();
                    }
                    Poll::Ready(Err(_)) => self.lose(),
                    Poll::Pending => {}
                }
            }
            let pumped = if self.is_blocked.get() { PumpEnd::Blocked } else { self.pump() };
            if self.state.borrow().phase == Phase::Gone {
                return Poll::Ready(());
            }
            let is_writable = pumped == PumpEnd::Blocked
                && self.is_blocked.get()
                && self.stream.poll_write_ready(cx).is_ready();
            if is_writable {
                // Writable again meanwhile.
                self.unblock();
            }
            // Whoever catches up is listened to all the same.
            let took_in = self.take_in(cx);
            if self.state.borrow().phase == Phase::Gone {
                return Poll::Ready(());
            }
            // What was answered goes out before anything is waited for.
            let is_unwritten = !self.is_blocked.get() && !self.state.borrow().outbox.is_empty();
            let has_more = took_in || is_writable || is_unwritten || pumped == PumpEnd::Yield;
            if !has_more {
                self.give_share_back();
                return Poll::Pending;
            }
            if pumped == PumpEnd::Yield || self.worker.turns.is_over() {
                self.worker.turns.line_up(self);
                return Poll::Pending;
            }
        }
    }

    /// Takes in what has come, or carries on with what came before: one step of it. Says whether there may be
    /// more to do at once.
    fn take_in(self: &Rc<Self>, cx: &mut Context<'_>) -> bool {
        let (unread, is_paused, has_backlog) = {
            let state = self.state.borrow();
            (state.outbox.len(), state.is_paused, !state.backlog.is_empty())
        };
        let is_behind_on_reading = is_paused || has_backlog;
        if unread > if is_behind_on_reading { UNREAD_REPLIES_RESUME } else { UNREAD_REPLIES_MAX } {
            return false;
        }
        if has_backlog {
            self.carry_on();
            return !self.awaits_credit();
        }
        if is_paused {
            self.receive(&mut []);
            return !self.awaits_credit();
        }
        match self.stream.poll_read_ready(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(_)) => self.lose(),
            Poll::Ready(Ok(())) => self.read(),
        }
        !self.awaits_credit()
    }

    /// The connection's next turn, outside its own task.
    pub(crate) fn take_turn(self: &Rc<Self>) {
        let Some(waker) = self.waker.take() else { return };
        let mut cx = Context::from_waker(&waker);
        self.waker.set(Some(waker.clone()));
        // This is not its own task: a panic must not cost anybody but its own peer.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut cx, true).is_ready()));
        if polled.is_err() {
            self.worker.hub.metrics.task_panicked("connection");
            self.abandon();
        }
        if polled.unwrap_or(true) {
            waker.wake();
        }
    }

    /// Stands in line for its turn from now on; says whether it did not before.
    pub(crate) fn enter_line(&self) -> bool {
        let is_new = !self.is_in_line();
        if is_new {
            self.in_line_since.set(Some(self.worker.now_ms()));
        }
        is_new
    }

    /// Stands there no longer.
    pub(crate) fn leave_line(&self) {
        self.waited(Wait::Turn, self.in_line_since.take());
    }

    fn is_in_line(&self) -> bool {
        self.in_line_since.get().is_some()
    }

    fn awaits_credit(&self) -> bool {
        self.awaits_credit_since.get().is_some()
    }

    /// Counts how long it has waited, if it has.
    fn waited(&self, wait: Wait, since: Option<u32>) {
        if let Some(since) = since {
            let ms = self.worker.now_ms().wrapping_sub(since);
            self.worker.stats.held_up(wait, Duration::from_millis(ms.into()));
        }
    }

    /// Whether it may do nothing (yet).
    pub(crate) fn is_stranger(&self) -> bool {
        self.state.borrow().session.is_stranger()
    }

    /// Whether what the peer sends still counts.
    fn is_listening(&self) -> bool {
        self.state.borrow().phase.is_listening()
    }

    /// Whether it is the broker that does not read: the connection stands in line for a turn or for credit.
    fn is_kept_waiting(&self) -> bool {
        self.is_in_line() || self.awaits_credit()
    }

    /// Charges what it holds of messages on their way in and out. Whoever asks for more when all is used up is
    /// closed.
    fn charge(&self) {
        let (bytes, is_stranger) = {
            let state = self.state.borrow();
            let held = state.decoder.held_bytes() + state.backlog_bytes + state.outbox.held_bytes();
            (held, state.session.is_stranger())
        };
        let steps = bytes.div_ceil(CHARGE_STEP) as u32;
        let before = self.charged.get();
        if steps == before && (steps == 0 || is_stranger == self.is_charged_as_stranger.get()) {
            return;
        }
        let hub = &self.worker.hub;
        hub.in_flight(self.is_charged_as_stranger.get()).give_back(before as usize * CHARGE_STEP);
        let budget = hub.in_flight(is_stranger);
        budget.take(steps as usize * CHARGE_STEP);
        self.charged.set(steps);
        self.is_charged_as_stranger.set(is_stranger);
        // A stranger is closed at once. Of the others the worker's sweep closes who holds most, if that is enough.
        if steps > before && if is_stranger { budget.is_over() } else { budget.is_exhausted() } {
            self.close_short_of_memory();
        }
    }

    /// Bytes that it holds of messages on their way, as charged.
    pub(crate) fn held_bytes(&self) -> usize {
        self.charged.get() as usize * CHARGE_STEP
    }

    /// Closes it for want of memory. What it holds is given back at once: whoever does not even take the frame that
    /// was begun, or is closing already and still holds much, is dropped.
    pub(crate) fn close_short_of_memory(&self) {
        self.close(CloseCode::TRY_AGAIN_LATER, "the broker is short of memory");
        if self.state.borrow().outbox.held_bytes() >= HELD_AFTER_CLOSE_MAX {
            self.abandon();
        }
    }

    /// The socket takes no more for now.
    fn block(self: &Rc<Self>) {
        self.is_blocked.set(true);
        self.blocked_at.set(self.worker.now_ms());
        if !self.is_watched.replace(true) {
            self.worker.watch(Rc::clone(self));
        }
    }

    /// The socket takes more.
    fn unblock(&self) {
        self.is_blocked.set(false);
        if self.is_stuck.get() {
            self.set_stuck(false);
        }
    }

    /// Whether it is watched any longer; one that has taken nothing for so long is stuck from now on.
    pub(crate) fn is_to_watch(&self, now: u32, patience: Duration) -> bool {
        if !self.is_blocked.get() {
            self.is_watched.set(false);
        } else if u128::from(now.wrapping_sub(self.blocked_at.get())) >= patience.as_millis() {
            self.is_watched.set(false);
            self.set_stuck(true);
        }
        self.is_watched.get()
    }

    /// While it is stuck its subscriptions that are behind count for nothing.
    fn set_stuck(&self, is_stuck: bool) {
        if self.is_stuck.replace(is_stuck) == is_stuck {
            return;
        }
        let state = self.state.borrow();
        for (_, subscription) in state.subscriptions.iter() {
            if matches!(subscription.place, Place::Behind(_)) {
                self.worker.count_awaited(&subscription.topic, !is_stuck);
            }
        }
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.get()
    }

    /// Looks after deadlines and pings. After a `hole` in the worker's own time nobody is judged by it.
    pub(crate) fn sweep(self: &Rc<Self>, now: u32, hole: bool) {
        let limits = &self.worker.hub.config.limits;
        if self.is_blocked.get() {
            self.worker.note_blocked(now.wrapping_sub(self.blocked_at.get()));
        }
        let mut state = self.state.borrow_mut();
        let passed = |at: u32| now.wrapping_sub(at) < u32::MAX / 2;
        match state.phase {
            Phase::Draining { until, .. } | Phase::Closing { until, .. } | Phase::Lingering { until } => {
                drop(state);
                if passed(until) {
                    self.abandon();
                }
                return;
            }
            Phase::Gone => return,
            Phase::Open => {}
        }
        // While we do not read it is not the peer that is late.
        let takes_nothing = state.outbox.len() > UNREAD_REPLIES_MAX;
        let is_unread = self.is_kept_waiting() || state.is_paused || takes_nothing;
        if hole || self.is_kept_waiting() {
            state.liveness.ask_anew(now);
        }
        if hole || is_unread {
            state.liveness.excuse(now);
        }
        let ms = |length: Duration| length.as_millis() as u32;
        let (is_silent, is_late) = (
            state.liveness.is_silent(now, ms(limits.ping_interval)),
            state.liveness.is_late(now, ms(limits.message_timeout)),
        );
        let is_ping_due = state.liveness.is_ping_due(now, ms(limits.ping_interval));
        let is_stuck = self.is_blocked.get() && state.behind > 0;
        drop(state);
        // Whoever takes nothing is silent, whatever it has sent: what lies in its socket may have lain there before.
        if (is_late || (is_silent && !self.is_blocked.get())) && self.has_unread_input() {
            // It has spoken; it was not heard yet.
            self.wake();
        } else if is_silent {
            self.close(CloseCode::TIMEOUT, "nothing was heard for two ping intervals");
        } else if is_late {
            self.close(CloseCode::TIMEOUT, "a message was not whole in time");
        } else if let Some(topic) = is_stuck.then(|| self.lost_topic()).flatten() {
            self.close_too_slow(&topic);
        } else if is_ping_due {
            self.ping(now);
        }
    }

    fn ping(self: &Rc<Self>, now: u32) {
        let mut state = self.state.borrow_mut();
        state.liveness.asked(now);
        if !state.outbox.is_full_of_control() {
            state.outbox.push_control(&[Outgoing::Ping as u8, 0]);
            drop(state);
            self.wake();
        }
    }
}
