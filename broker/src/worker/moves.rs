//! Connections that move between workers: where each is sent, and how those that come are taken in.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounterVec;
use smallvec::SmallVec;

use super::balance::{BUSY, Balance, Decision};
use super::{Worker, key};
use crate::connection::Connection;
use crate::connection::moving::{Destination, Moving};
use crate::inbox::Lanes;
use crate::metrics::Registry;
use crate::topic::Topic;

/// Connections that may be on their way to one worker.
const WAITING_MAX: usize = 1024;
/// Connections that a worker takes in before its other tasks have their turn.
const ARRIVALS_A_CYCLE: usize = 16;
/// Walks that are remembered.
const WALKS: usize = 64;
/// Connections that a busy worker hands on at once, at most.
const GIVEN_MAX: usize = WAITING_MAX;
/// Connections that a worker with little to do hands on at once, at most.
const GATHERED_MAX: usize = 64;

/// Why a connection moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The others of its topic are there.
    Topic,
    /// Its worker has all it can do.
    Busy,
    /// Its worker and another have little to do.
    Light,
    /// A test has all move.
    Test,
}

impl Reason {
    /// Those that users see.
    const ALL: [Self; 3] = [Self::Topic, Self::Busy, Self::Light];

    /// Its name in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Busy => "busy",
            Self::Light => "light",
            Self::Test => "test",
        }
    }
}

/// The deliveries of the last walks: what a worker has most to do with. Bounded whatever topics there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    /// A topic's key, and deliveries.
    walks: [(usize, u32); WALKS],
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { walks: [(0, 0); WALKS], next: 0 }
    }
}

impl Recent {
    /// The topics with most deliveries first, and how large their parts are of all.
    fn hottest(&self) -> Vec<(usize, f64)> {
        let mut topics = HashMap::new();
        for &(topic, delivered) in self.walks.iter().filter(|(_, delivered)| *delivered > 0) {
            *topics.entry(topic).or_default() += f64::from(delivered);
        }
        let total: f64 = topics.values().sum();
        let mut topics: Vec<_> = topics.into_iter().map(|(topic, n): (_, f64)| (topic, n / total)).collect();
        topics.sort_by(|a, b| b.1.total_cmp(&a.1));
        topics
    }
}

/// The ways between all workers: one lane to each.
pub(crate) struct Moves {
    lanes: Box<[Lanes<Box<Moving>, 1>]>,
    moved: IntCounterVec,
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moves").field("workers", &self.lanes.len()).finish_non_exhaustive()
    }
}

impl Moves {
    /// The ways between so many workers.
    pub(crate) fn new(registry: &Registry, workers: usize) -> Arc<Self> {
        let moved = registry.counters(
            "fanfare_connections_moved_total",
            "WebSockets that moved from one worker to another, by why they did.",
            &["reason"],
        );
        for reason in Reason::ALL {
            // Series that are there from the start can be asked for their rate.
            moved.with_label_values(&[reason.name()]);
        }
        Arc::new(Self { lanes: (0..workers).map(|_| Lanes::new()).collect(), moved })
    }
}

/// So many of the connections, those that subscribe to most: each takes as much along as may be.
fn fattest<'c>(connections: impl Iterator<Item = &'c Rc<Connection>>, most: usize) -> Vec<Rc<Connection>> {
    let mut all: Vec<_> = connections.collect();
    if most < all.len() {
        all.select_nth_unstable_by_key(most, |connection| Reverse(connection.subscriptions()));
        all.truncate(most);
    }
    all.into_iter().map(Rc::clone).collect()
}

impl Worker {
    /// Hands a connection on to that worker.
    ///
    /// # Errors
    /// Gives it back where that worker takes no more for now: it is full, stops, or stands still.
    pub(crate) fn hand_on(&self, to: Destination, mut moving: Moving) -> Result<(), Box<Moving>> {
        let Destination { worker: to, reason } = to;
        let to = usize::from(to);
        if !self.hub.workers[to].takes_sockets() {
            return Err(Box::new(moving));
        }
        moving.permit().move_to(&self.hub.workers[to].load);
        let sent = self.moves.lanes[to].put(0, WAITING_MAX, Box::new(moving));
        match sent {
            Ok(()) => {
                self.moves.moved.with_label_values(&[reason.name()]).inc();
                Ok(())
            }
            Err(mut back) => {
                back.permit().move_to(&self.handle().load);
                Err(back)
            }
        }
    }

    /// Takes in the connections that come from other workers, for ever.
    pub(super) async fn arrivals(self: Rc<Self>) {
        let lane = &self.moves.lanes[self.index];
        let mut arrived = Vec::new();
        loop {
            lane.news().await;
            while {
                let has_more = lane.take([ARRIVALS_A_CYCLE], &mut arrived);
                for moving in arrived.drain(..) {
                    self.take_in(*moving);
                }
                has_more
            } {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take_in(self: &Rc<Self>, moving: Moving) {
        // A panic must not cost anybody but its own peer: what there is of the connection then ends with its task.
        match catch_unwind(AssertUnwindSafe(|| Connection::arrive(self, moving))) {
            Ok(Ok(task)) => drop(self.tasks.spawn_local(task)),
            Ok(Err(error)) => tracing::debug!(%error, "a socket failed while its connection moved"),
            Err(_) => {}
        }
    }

    /// No more connections come; those that were on their way are taken in.
    pub(super) fn close_to_moves(self: &Rc<Self>) {
        for moving in self.moves.lanes[self.index].close(0) {
            self.take_in(*moving);
        }
    }

    /// Notes what a walk has delivered of a topic.
    pub(super) fn note_delivered(&self, topic: &Arc<Topic>, delivered: u64) {
        if delivered == 0 {
            return;
        }
        self.handle().heat.delivered(topic.name.as_str(), delivered);
        let mut recent = self.recent.borrow_mut();
        let next = recent.next;
        recent.walks[next] = (key(topic), delivered as u32);
        recent.next = (next + 1) % WALKS;
    }

    /// Looks whether connections of this worker should be another's, and has them move.
    pub(super) fn balance(&self, balance: &mut Balance) {
        if self.hub.workers.len() < 2 || self.hub.config().server.testing.spread {
            return;
        }
        let loads: SmallVec<[_; 16]> = self.hub.workers.loads().collect();
        match balance.look(self.index, &loads) {
            Decision::Stay => {}
            Decision::Give { to, part } => self.give(to, part),
            Decision::Gather { to } => self.move_some(to, GATHERED_MAX, Reason::Light),
        }
    }

    /// Has a part of what it delivers go to that worker: members of the hottest topics first, and small topics as a whole.
    fn give(&self, to: usize, mut part: f64) {
        let some = (self.connections.borrow().len() as f64 * part) as usize;
        let mut left = GIVEN_MAX;
        for (topic, share) in self.recent.borrow().hottest() {
            let topics = self.topics.borrow();
            let Some(local) = topics.get(&topic) else { continue };
            let members = || local.groups.iter().flat_map(|group| &group.members);
            if local.is_small() && share > part {
                continue;
            }
            let wanted = (members().count() as f64 * (part / share).min(1.0)) as usize;
            let movable = members().map(|member| &member.connection).filter(|it| it.may_move());
            let moving = fattest(movable, wanted.min(left));
            drop(topics);
            left -= moving.len();
            part -= share.min(part);
            moving.iter().for_each(|connection| connection.move_to(to, Reason::Busy));
            if left == 0 || part <= 0.0 {
                return;
            }
        }
        if left == GIVEN_MAX {
            // It is busy with what it is sent, or with one topic that does not bear to be divided: whoever comes first.
            self.move_some(to, some.min(GIVEN_MAX), Reason::Busy);
        }
    }

    /// Has some connections go to that worker, whichever come first.
    fn move_some(&self, to: usize, most: usize, reason: Reason) {
        let connections = self.connections.borrow();
        let movable = connections.iter().map(|(_, connection)| connection).filter(|c| c.may_move());
        let some: Vec<_> = movable.take(most).map(Rc::clone).collect();
        drop(connections);
        some.iter().for_each(|connection| connection.move_to(to, reason));
    }

    /// Moves every connection again and again, after so long to a worker at random: what a test wants of it.
    pub(super) async fn shuffles(self: Rc<Self>, pause: Duration) {
        let others = self.hub.workers.len() - 1;
        loop {
            tokio::time::sleep(pause).await;
            for connection in self.all_connections() {
                let other = rand::random_range(0..others);
                connection.move_to(if other < self.index { other } else { other + 1 }, Reason::Test);
            }
        }
    }

    /// Brings a connection `home`, where the others are of most of its small topics, if
    /// that worker has not more to do than it can: a publication wakes one worker then, and none if it comes from
    /// there.
    pub(crate) fn bring_together(&self, connection: &Connection, home: usize) {
        let there = &self.hub.workers[home];
        let is_busy = there.busy.share() >= BUSY && there.busy.share() > self.handle().busy.share();
        if there.takes_sockets() && !is_busy && !self.hub.config().server.testing.apart {
            connection.move_to(home, Reason::Topic);
        }
    }
}
