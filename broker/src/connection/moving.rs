//! Moving a connection to another worker: it is taken apart on its own thread, crosses as plain data, and goes on there at
//! the cursors at which it stood.
//!
//! A connection moves only between two turns of its own, while it waits for no answer: then its parts, what it has read and
//! not decoded and what it has yet to write are all there is of it. Topics and their rings are shared by all workers, so
//! nothing of them goes along; they keep what it has yet to get as they do for whoever is behind.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::OnLag;

use super::account::Account;
use super::backpressure::Backpressure;
use super::inbound::Inbound;
use super::liveness::Liveness;
use super::outbox::{Outbox, Unwritten};
use super::session::Session;
use super::subscriptions::Subscription;
use super::task::ConnectionTask;
use super::visitor::Visitor;
use super::{Connection, Parts, State};
use crate::dialect::Dialect;
use crate::directory::OnItsWay;
use crate::ids::ConnectionId;
use crate::permit::Permit;
use crate::stream::Parted;
use crate::topic::Topic;
use crate::topic::ring::{Cursor, Seq};
use crate::worker::Worker;
use crate::worker::moves::Reason;

/// Subscriptions of a connection that still moves: with more it would be milliseconds of work in one piece.
pub(super) const SUBSCRIPTIONS_MAX: usize = 128;

/// A connection between two workers: nothing of it belongs to either's thread.
#[derive(Debug)]
pub(crate) struct Moving {
    id: ConnectionId,
    /// Its place in the directory.
    on_its_way: OnItsWay,
    dialect: Dialect,
    stream: Parted,
    permit: Box<Permit>,
    settles_at: u8,
    has_published: bool,
    backpressure: Backpressure,
    account: Account,
    inbound: Inbound,
    unwritten: Unwritten,
    session: Session,
    visitor: Visitor,
    liveness: Liveness,
    subscriptions: Vec<MovingSubscription>,
}

/// Where a connection is to move, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination {
    /// The worker's index.
    pub(crate) worker: u16,
    pub(crate) reason: Reason,
}

/// Whatever is sent to another thread has to be fit for it.
const fn is_send<T: Send>() {}
const _: () = is_send::<Moving>();

/// A subscription of a connection that moves. While it is there its topic counts it and keeps what it has yet to get.
#[derive(Debug)]
pub(super) struct MovingSubscription {
    topic: Arc<Topic>,
    /// The worker as whose its topic counts it until it is taken up.
    worker: usize,
    from: Cursor,
    /// Whether it was in step: then what it has yet to get is promised to it until it has caught up. Whoever was behind already is
    /// kept for as before.
    was_in_step: bool,
    echo: bool,
    on_lag: OnLag,
    live_from: Seq,
    /// Whether it is with its worker, which has the topic count it until it has caught up.
    is_taken_up: bool,
}

impl Drop for MovingSubscription {
    fn drop(&mut self) {
        if !self.is_taken_up {
            self.topic.unsubscribe(self.worker);
            self.topic.end_move();
        }
    }
}

/// The socket of a connection failed between two workers: nothing of it is left.
fn lose(worker: &Worker, account: &Account, subscriptions: Vec<MovingSubscription>) {
    account.close(|of| worker.hub.in_flight(of));
    worker.metrics.closed("lost");
    for subscription in subscriptions {
        let topic = Arc::clone(&subscription.topic);
        drop(subscription);
        worker.hub.table.unsubscribed(&topic);
    }
}

impl Moving {
    /// The permit, which counts where the connection is.
    pub(crate) fn permit(&mut self) -> &mut Permit {
        &mut self.permit
    }
}

impl Connection {
    /// Has it move to that worker as soon as it can.
    pub(crate) fn move_to(&self, worker: usize, reason: Reason) {
        self.destination.set(Some(Destination { worker: worker as u16, reason }));
        self.wake();
    }

    /// Wakes it where it is to move and could not while a round had something queued for it.
    pub(crate) fn move_on(&self) {
        if self.destination.get().is_some() {
            self.wake();
        }
    }

    /// How many topics it subscribes to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.state.borrow().subscriptions.len()
    }

    /// Whether it could move, but for what it waits for just now.
    pub(crate) fn may_move(&self) -> bool {
        let state = self.state.borrow();
        state.subscriptions.len() <= SUBSCRIPTIONS_MAX && state.life.is_open()
    }

    /// Where it is to move, if it is to and can do so now: while answers are outstanding, a round has something queued for it
    /// or somebody else has it in hand, it stays.
    pub(super) fn departs_to(self: &Rc<Self>) -> Option<Destination> {
        let destination = self.destination.get()?;
        let state = self.state.borrow();
        let in_step = state.subscriptions.len() - state.subscriptions.behind();
        // Its task, its worker's list, and a group for each subscription in step.
        let is_alone = Rc::strong_count(self) == 2 + in_step;
        let waits = !state.replies.is_empty()
            || state.replies.awaited().is_some()
            || self.standing.awaits_answer()
            || self.touched.get();
        let can_move = is_alone && !waits && self.may_move() && !self.worker.hub.is_draining();
        can_move.then_some(destination)
    }

    /// Takes its subscriptions out of its worker, to go on elsewhere.
    pub(super) fn take_subscriptions(&self) -> Vec<MovingSubscription> {
        let keys = self.state.borrow().subscriptions.keys();
        keys.into_iter().map(|key| self.take_subscription(key)).collect()
    }

    /// Takes apart what is left of it, with its permit. Only for one that [departs](Self::departs_to) and whose subscriptions
    /// are taken.
    ///
    /// # Errors
    /// What the system says where its socket cannot leave the thread: the connection is lost then.
    pub(super) fn take_apart(
        self: Rc<Self>,
        subscriptions: Vec<MovingSubscription>,
        permit: Box<Permit>,
    ) -> io::Result<Moving> {
        let worker = Rc::clone(&self.worker);
        self.leave_worker();
        let on_its_way = OnItsWay::new(&worker.hub.directory, self.id);
        let Some(this) = Rc::into_inner(self) else { unreachable!("nobody else has it") };
        let State { inbound, outbox, session, visitor, liveness, .. } = this.state.into_inner();
        let stream = match this.stream.part() {
            Ok(stream) => stream,
            Err(error) => {
                lose(&worker, &this.account, subscriptions);
                return Err(error);
            }
        };
        Ok(Moving {
            id: this.id,
            on_its_way,
            dialect: this.dialect,
            stream,
            permit,
            settles_at: this.settles_at.get(),
            has_published: this.has_published.get(),
            backpressure: this.backpressure,
            account: this.account,
            inbound,
            unwritten: outbox.into_unwritten(),
            session,
            visitor,
            liveness,
            subscriptions,
        })
    }

    /// Takes a subscription out of the worker, to go on elsewhere.
    fn take_subscription(&self, key: usize) -> MovingSubscription {
        let worker = &self.worker;
        let was_in_step = self.slot(key).is_some();
        worker.leave(self, key);
        // Out of its group it is behind.
        let subscription = self.state.borrow_mut().subscriptions.remove(key);
        let from = subscription.behind().expect("it is behind");
        let Subscription { topic, echo, on_lag, live_from, .. } = subscription;
        // Before it counts no longer among those that are behind here.
        topic.begin_move(was_in_step.then_some(from.next));
        worker.count_behind(self, &topic, false);
        worker.forget_subscription(&topic);
        MovingSubscription {
            topic,
            worker: worker.index,
            from,
            was_in_step,
            echo,
            on_lag,
            live_from,
            is_taken_up: false,
        }
    }

    /// Puts one together that has moved here; returns its task.
    ///
    /// # Errors
    /// What the system says where its socket cannot belong to this thread: the connection is lost then.
    pub(crate) fn arrive(worker: &Rc<Worker>, moving: Moving) -> io::Result<ConnectionTask> {
        let Moving { id, dialect, stream, permit, has_published, backpressure, account, .. } = moving;
        let Moving { settles_at, inbound, unwritten, session, visitor, liveness, .. } = moving;
        let Moving { on_its_way, subscriptions, .. } = moving;
        let stream = match stream.arrive() {
            Ok(stream) => stream,
            Err(error) => {
                lose(worker, &account, subscriptions);
                return Err(error);
            }
        };
        // Whether the new thread's socket takes anything is yet to be seen.
        backpressure.begin_anew(worker.now_ms());
        let (outbox, state) = (Outbox::of(unwritten), State::new(session, visitor, liveness));
        let state = State { inbound, outbox, ..state };
        let parts = Parts { settles_at, has_published, backpressure, account, state };
        let connection = Self::put_together(worker, id, dialect, stream, parts);
        let task = ConnectionTask::new(Rc::clone(&connection), permit);
        on_its_way.arrive();
        worker.watch(&connection);
        for subscription in subscriptions {
            connection.take_up(subscription);
        }
        connection.report_queue();
        // Whoever walked over all for those whose grants are revoked may have passed where it stands now.
        connection.close_if_revoked();
        if worker.hub.is_draining() {
            connection.restart();
        }
        Ok(task)
    }

    /// Goes on with a subscription where it stood: at its own pace at first, and in step when it has everything.
    fn take_up(&self, mut moved: MovingSubscription) {
        let topic = Arc::clone(&moved.topic);
        topic.arrive(moved.worker, self.worker.index);
        moved.is_taken_up = true;
        self.worker.add_subscription(&topic);
        self.worker.count_behind(self, &topic, true);
        let MovingSubscription { from, was_in_step, echo, on_lag, live_from, .. } = moved;
        let subscriptions = &mut self.state.borrow_mut().subscriptions;
        let key = subscriptions.insert(topic, echo, on_lag, from, live_from);
        if was_in_step {
            subscriptions.begin_arrival(key);
        } else {
            subscriptions[key].topic.end_move();
        }
    }
}
