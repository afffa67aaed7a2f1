//! One WebSocket: its socket, what it subscribes to, and what waits to be written. [hot]
//!
//! A connection lives on its worker's thread. Its own task reads, and writes when the socket was full;
//! the worker's rounds write to it directly. An idle connection holds no buffer and no timer.
//!
//! It must not know how anything is said, which is its dialect's, nor what anyone may do, which the operations ask the
//! grant. Its parts must not know a socket or a worker, and not each other.

mod account;
mod answers;
mod asking;
mod backpressure;
mod closing;
mod delivery;
mod inbound;
mod life;
mod limiting;
mod liveness;
pub(crate) mod metrics;
pub(crate) mod moving;
mod outbox;
pub(crate) mod progress;
mod reading;
mod regrant;
mod replies;
pub(crate) mod request;
pub(crate) mod session;
mod standing;
mod subscribe;
mod subscriptions;
mod sweep;
pub(crate) mod task;
pub(crate) mod tenure;
mod visited;
mod visitor;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfare_protocol::{ClientFrame, ClientOp, CloseCode};

use crate::clock::Uptime;
use crate::dialect::Dialect;
use crate::encoding::Encoding;
use crate::ids::ConnectionId;
use crate::permit::Permit;
use crate::stream::Stream;
use crate::topic::Topic;
use crate::worker::Worker;
use crate::workers::stats::Wait;
use account::Account;
use backpressure::{Backpressure, SocketState};
use inbound::Inbound;
use life::Life;
use liveness::Liveness;
use moving::Destination;
use outbox::Outbox;
use progress::PumpEnd;
use replies::Replies;
use request::Request;
use session::Session;
use standing::Standing;
use subscriptions::{Pace, Subscriptions};
use task::ConnectionTask;
use tenure::Terms;
use visitor::Visitor;

/// Bytes that wait to be written above which nothing more is taken in: a peer that asks and does not read the
/// answers waits for itself.
const UNREAD_REPLIES_MAX: usize = 256 * 1024;
/// Bytes that wait to be written at which it is taken in again.
const UNREAD_REPLIES_RESUME: usize = UNREAD_REPLIES_MAX / 2;
/// Bytes that whoever is closed for want of memory may still hold, in a frame that was begun: with more it is dropped.
const HELD_AFTER_CLOSE_MAX: usize = 16 * 1024;

/// One WebSocket, composed of its parts.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The key under which its worker keeps it: another connection has it later, so answers go by the id as well.
    pub(crate) key: u32,
    /// The form in which it gets publications, as its dialect says: kept apart, for each delivery asks.
    pub(crate) encoding: Encoding,
    dialect: Dialect,
    worker: Rc<Worker>,
    stream: Stream,
    /// Whether the round at hand has queued something, which is written at its end.
    pub(crate) touched: Cell<bool>,
    /// The worker to which it is to move, if it is to.
    destination: Cell<Option<Destination>>,
    /// The count of subscriptions from which on it is decided (again) where it belongs.
    settles_at: Cell<u8>,
    /// Whether there may be publications of its own, which are looked for where it does not want them.
    has_published: Cell<bool>,
    /// Bytes of its outbox that the metrics know of.
    reported_queue: Cell<u32>,
    /// What wakes its own task; `None` before its first turn, and while it is lent out.
    waker: Cell<Option<Waker>>,
    backpressure: Backpressure,
    standing: Standing,
    account: Account,
    /// Never borrowed across a call that may reach another connection or the worker's topics.
    state: RefCell<State>,
}

/// With the counts of its `Rc`, and the 32 bytes of a socket as it is released, it fits in what the allocator has for 320.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() - size_of::<Stream>() + 32 + 16 <= 320);

/// The parts that are borrowed together.
#[derive(Debug)]
struct State {
    inbound: Inbound,
    replies: Replies,
    outbox: Outbox,
    session: Session,
    visitor: Visitor,
    subscriptions: Subscriptions,
    liveness: Liveness,
    life: Life,
}

impl State {
    /// The state of a conversation in which nothing waits.
    fn new(session: Session, visitor: Visitor, liveness: Liveness) -> Self {
        Self {
            inbound: Inbound::default(),
            replies: Replies::default(),
            outbox: Outbox::default(),
            session,
            visitor,
            subscriptions: Subscriptions::default(),
            liveness,
            life: Life::new(),
        }
    }
}

/// What a connection is made of that is not its worker's.
struct Parts {
    settles_at: u8,
    has_published: bool,
    backpressure: Backpressure,
    account: Account,
    state: State,
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
    /// request. Returns its task, which ends when it is closed or has moved to another worker.
    pub(crate) fn open(
        worker: Rc<Worker>,
        stream: Stream,
        early: &[u8],
        request: Request,
        permit: Permit,
    ) -> ConnectionTask {
        let hub = Arc::clone(&worker.hub);
        let Request { dialect, grant, begins_with, client } = request;
        let encoding = dialect.encoding();
        let has_grant = grant.is_some();
        let now = Uptime::now();
        let session = Session::new(grant.unwrap_or_default(), now, Terms::of(&hub.config()));
        let parts = Parts {
            settles_at: 1,
            has_published: false,
            backpressure: Backpressure::new(now.as_ms() as u32),
            account: Account::default(),
            state: State::new(session, Visitor::new(client), Liveness::new(now.as_ms() as u32)),
        };
        let connection = Self::put_together(&worker, hub.next_connection_id(), dialect, stream, parts);
        worker.metrics.opened(encoding);
        let task = ConnectionTask::new(Rc::clone(&connection), Box::new(permit));
        if !has_grant {
            connection.close(CloseCode::UNAUTHORIZED, "the token is not known");
        } else {
            // Whoever walks over all for those whose grants are revoked may have passed where it stands now.
            connection.close_if_revoked();
            connection.charge();
        }
        if connection.is_listening()
            && let Some(subscribe) = begins_with
            && let Some(waiting) =
                connection.begin_with(Ok(ClientFrame { id: None, op: ClientOp::Subscribe(subscribe) }))
        {
            connection.keep(waiting);
        }
        if hub.is_draining() {
            // It came while the others were being closed.
            connection.restart();
        }
        if !early.is_empty() {
            connection.keep_early(early);
        }
        task
    }

    /// A connection of these parts, which its worker keeps from now on.
    fn put_together(
        worker: &Rc<Worker>,
        id: ConnectionId,
        dialect: Dialect,
        stream: Stream,
        parts: Parts,
    ) -> Rc<Self> {
        let Parts { settles_at, has_published, backpressure, account, state } = parts;
        let connection = worker.insert(|key| {
            Rc::new(Self {
                id,
                key,
                encoding: dialect.encoding(),
                dialect,
                worker: Rc::clone(worker),
                stream,
                touched: Cell::new(false),
                destination: Cell::new(None),
                settles_at: Cell::new(settles_at),
                has_published: Cell::new(has_published),
                reported_queue: Cell::new(0),
                waker: Cell::new(None),
                backpressure,
                standing: Standing::default(),
                account,
                state: RefCell::new(state),
            })
        });
        worker.hub.directory.put(id, worker.index, connection.key);
        connection
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
        self.backpressure.is_blocked()
    }

    /// Reads and writes as far as the socket and its turn let it; ready when the connection is gone. A stranger
    /// only has the turns for which it stood in line.
    fn poll(self: &Rc<Self>, cx: &mut Context<'_>, stood_in_line: bool) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        if !self.waker.take().is_some_and(|waker| {
            let same = waker.will_wake(cx.waker());
            self.waker.set(Some(waker));
            same
        }) {
            self.waker.set(Some(cx.waker().clone()));
        }
        if self.standing.is_in_line() {
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
            if self.is_blocked() {
                match self.stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        // The peer has taken something: it lives, whether or not it says anything.
                        if self.unblock() {
                            self.state.borrow_mut().liveness.heard();
                        }
                    }
                    Poll::Ready(Err(_)) => self.lose(),
                    Poll::Pending => {}
                }
            }
            let pumped = if self.is_blocked() { PumpEnd::Blocked } else { self.pump() };
            if self.is_gone() {
                return Poll::Ready(());
            }
            let is_writable = pumped == PumpEnd::Blocked
                && self.is_blocked()
                && self.stream.poll_write_ready(cx).is_ready();
            if is_writable {
                // Writable again meanwhile.
                self.unblock();
            }
            // Whoever catches up is listened to all the same.
            let took_in = self.take_in(cx);
            if self.is_gone() {
                return Poll::Ready(());
            }
            // What was answered goes out before anything is waited for.
            let is_unwritten = !self.is_blocked() && !self.state.borrow().outbox.is_empty();
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
        if self.standing.awaits_answer() || self.waits_for_replies() || self.drains_its_replies() {
            return false;
        }
        let (unread, is_paused, has_backlog) = {
            let state = self.state.borrow();
            (state.outbox.len(), state.inbound.is_paused(), state.inbound.has_backlog())
        };
        let is_behind_on_reading = is_paused || has_backlog;
        if unread > if is_behind_on_reading { UNREAD_REPLIES_RESUME } else { UNREAD_REPLIES_MAX } {
            return false;
        }
        if has_backlog {
            self.carry_on();
            return !self.standing.is_held();
        }
        if is_paused {
            self.receive(&mut []);
            return !self.standing.is_held();
        }
        match self.stream.poll_read_ready(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(_)) => self.lose(),
            Poll::Ready(Ok(())) => self.read(),
        }
        !self.standing.is_held()
    }

    /// The connection's next turn, outside its own task.
    pub(crate) fn take_turn(self: &Rc<Self>) {
        let Some(waker) = self.waker.take() else { return };
        let mut cx = Context::from_waker(&waker);
        self.waker.set(Some(waker.clone()));
        // This is not its own task: a panic must not cost anybody but its own peer.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut cx, true).is_ready()));
        if polled.is_err() {
            self.worker.hub.panics.count("connection");
            self.abandon();
        }
        if polled.unwrap_or(true) {
            waker.wake();
        }
    }

    /// Stands in line for its turn from now on; says whether it did not before.
    pub(crate) fn enter_line(&self) -> bool {
        self.standing.enter_line(self.worker.now_ms())
    }

    /// Stands in line no longer, and counts for how long it did.
    pub(crate) fn leave_line(&self) {
        self.waited(Wait::Turn, self.standing.leave_line());
    }

    /// Counts how long it has waited, if it has: `since` then, in its worker's milliseconds.
    fn waited(&self, wait: Wait, since: Option<u32>) {
        if let Some(since) = since {
            let ms = self.worker.now_ms().wrapping_sub(since);
            self.worker.stats.waited(wait, Duration::from_millis(ms.into()));
        }
    }

    /// Whether its peer may do nothing (yet), and has no turns but those for which it stood in line.
    pub(crate) fn is_stranger(&self) -> bool {
        self.state.borrow().session.is_stranger()
    }

    /// Whether what the peer sends still counts.
    fn is_listening(&self) -> bool {
        self.state.borrow().life.is_listening()
    }

    fn is_gone(&self) -> bool {
        self.state.borrow().life.is_gone()
    }

    /// Charges what it holds of messages on their way in and out, and of credentials that are larger than usual. Whoever asks for more when all is used up is
    /// closed.
    fn charge(&self) {
        let (bytes, is_stranger) = {
            let state = self.state.borrow();
            (
                state.inbound.held_bytes()
                    + state.replies.held_bytes()
                    + state.outbox.held_bytes()
                    + self.stream.held_bytes()
                    + state.session.held_bytes(),
                state.session.is_stranger(),
            )
        };
        if self.account.charge(|of| self.worker.hub.in_flight(of), bytes, is_stranger) {
            self.close_short_of_memory();
        }
    }

    /// Bytes that it holds of messages on their way in and out, as charged.
    pub(crate) fn held_bytes(&self) -> usize {
        self.account.bytes()
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
        if self.backpressure.block(self.worker.now_ms()) {
            self.worker.watch(self);
        }
    }

    /// The socket takes more; says whether that is because its peer has taken something.
    fn unblock(&self) -> bool {
        self.set_stuck(false);
        self.backpressure.unblock()
    }

    /// Whether it is watched any longer; one that has taken nothing for so long is stuck from now on.
    pub(crate) fn is_to_watch(&self, now: u32, stuck_after: Duration) -> bool {
        let found = self.backpressure.look(now, stuck_after);
        if found == SocketState::Stuck {
            self.set_stuck(true);
        }
        found == SocketState::Blocked
    }

    /// While it is stuck its subscriptions that are behind count for nothing.
    fn set_stuck(&self, is_stuck: bool) {
        if !self.backpressure.set_stuck(is_stuck) {
            return;
        }
        let state = self.state.borrow();
        for (_, subscription) in state.subscriptions.iter() {
            if subscription.behind().is_some() {
                self.worker.count_awaited(&subscription.topic, !is_stuck);
            }
        }
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.backpressure.is_stuck()
    }

    /// The topic of a subscription, and whether its own publications come back.
    pub(crate) fn interest(&self, key: usize) -> (Arc<Topic>, bool) {
        let state = self.state.borrow();
        let subscription = &state.subscriptions[key];
        (Arc::clone(&subscription.topic), subscription.echo)
    }

    /// The slot of a subscription in its group, if it is in step.
    pub(crate) fn slot(&self, key: usize) -> Option<usize> {
        match self.state.borrow().subscriptions[key].pace {
            Pace::InStep { slot } => Some(slot),
            Pace::Behind(_) => None,
        }
    }

    /// Bytes that wait to be written.
    #[cfg(test)]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.borrow().outbox.len()
    }
}
