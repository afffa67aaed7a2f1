//! Connections that move between workers: where each is sent, and how those that come are taken in.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounterVec;

use super::Worker;
use crate::connection::Connection;
use crate::connection::moving::Moving;
use crate::inbox::Lanes;
use crate::metrics::Registry;
use crate::topic::Topic;

/// Connections that may be on their way to one worker.
const WAITING_MAX: usize = 1024;
/// Connections that a worker takes in before its other tasks have their turn.
const ARRIVALS_A_CYCLE: usize = 16;
/// Subscriptions of a topic from which on it is large: its subscribers are no longer brought together.
const SMALL_MAX: usize = 128;

/// Why a connection moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The others of its topic are there.
    Topic,
    /// A test has all move.
    Test,
}

impl Reason {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 2] = [Self::Topic, Self::Test];

    /// Its name in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Test => "test",
        }
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
            moved.with_label_values(&[reason.name()]);
        }
        Arc::new(Self { lanes: (0..workers).map(|_| Lanes::new()).collect(), moved })
    }
}

impl Worker {
    /// Hands a connection on to that worker.
    ///
    /// # Errors
    /// Gives it back where that worker takes no more for now: it is full, stops, or stands still.
    pub(crate) fn hand_on(&self, to: usize, mut moving: Moving) -> Result<(), Box<Moving>> {
        moving.permit().move_to(&self.hub.workers[to].load);
        let reason = moving.reason();
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
        match Connection::arrive(self, moving) {
            Ok(task) => drop(self.tasks.spawn_local(task)),
            Err(error) => tracing::debug!(%error, "a socket failed while its connection moved"),
        }
    }

    /// No more connections come; those that were on their way are cut.
    pub(super) fn close_to_moves(&self) {
        drop(self.moves.lanes[self.index].close(0));
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

    /// Brings a connection that has just subscribed to its first topic to where most of that topic's subscribers are, while
    /// they are few: a publication wakes one worker then, and none if it comes from there.
    pub(crate) fn bring_together(&self, connection: &Connection, topic: &Topic) {
        if let Some(home) = topic.home(self.index, SMALL_MAX) {
            connection.move_to(home, Reason::Topic);
        }
    }
}
