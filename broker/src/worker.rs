//! One core: its connections, and what it keeps of the topics that they subscribe to.
//!
//! A worker is one thread with one single-threaded runtime. It owns its connections outright, so nothing
//! between the ring and the socket is shared, locked or counted atomically.
//!
//! It must not know HTTP, which drives it by its `Doors`, nor the connections of another worker.

mod balance;
pub(crate) mod gate;
pub(crate) mod group;
mod inquiries;
mod intake;
pub(crate) mod moves;
mod replay;
mod round;
pub(crate) mod runs;
mod slowest;
mod sweep;
mod turns;
pub(crate) mod unheard;
mod walk;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Uptime;
use crate::config::LimitsConfig;
use crate::connection::Connection;
use crate::connection::metrics::ConnectionMetrics;
use crate::encoding::Encoding;
use crate::hub::Hub;
use crate::inbox::Socket;
use crate::supervise::vital;
use crate::topic::Topic;
use crate::topic::ring::Cursor;
use crate::workers::handle::WorkerHandle;
use crate::workers::stats::WorkerStats;
use group::{LocalTopic, Member};
use moves::{Moves, Recent};
use replay::Replay;
use runs::Runs;
use slowest::Slowest;
use turns::Turns;
use unheard::Unheard;

/// How long a worker waits for its last tasks when every connection is closed.
const ENDING_MAX: Duration = Duration::from_secs(3);
/// Bytes that one read takes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How a worker's sockets are served.
pub(crate) trait Doors {
    /// Serves the socket until it is closed, or what comes of it has a task of its own. Ends after the request at hand
    /// when `stop` is cancelled.
    fn serve(
        &self,
        worker: Rc<Worker>,
        socket: Socket,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + 'static;

    /// Says on a socket that is not to be served that it is not.
    fn turn_away(&self, socket: &Socket);
}

/// One core's state. Lives on one thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) hub: Arc<Hub>,
    pub(crate) stats: Arc<WorkerStats>,
    /// What the connections of all workers count.
    pub(crate) metrics: Arc<ConnectionMetrics>,
    /// The topics that it subscribes to, by the topic's address, which its `Arc` keeps from being given to
    /// another.
    topics: RefCell<HashMap<usize, LocalTopic>>,
    connections: RefCell<Slab<Rc<Connection>>>,
    /// Where every connection's bytes are read into.
    pub(crate) scratch: Cell<Vec<u8>>,
    /// What is costly to write for whoever catches up.
    pub(crate) replay: RefCell<Replay>,
    /// What is written for several who catch up together.
    pub(crate) runs: RefCell<Runs>,
    pub(crate) turns: Turns,
    /// Whether anything of how often peers may ask is limited: looked at with each read, so that nobody else has to.
    pub(crate) limits_rates: Cell<bool>,
    pub(crate) unheard: Unheard,
    moves: Arc<Moves>,
    /// What it has delivered of late, by topic.
    recent: RefCell<Recent>,
    /// The longest time, in milliseconds, for which a socket has taken nothing, of those that were looked at
    /// since this was last told.
    blocked_max_ms: Cell<u32>,
    /// The connections whose sockets have taken nothing for longest.
    slowest: RefCell<Slowest>,
    /// Connections whose sockets take no more, by when that began. Each is in here at most once.
    blocked: RefCell<VecDeque<Weak<Connection>>>,
    /// Gives its HTTP connections their turns.
    pub(crate) gate: Rc<gate::Gate>,
    /// Ends when the worker has no more to do.
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

fn key(topic: &Arc<Topic>) -> usize {
    Arc::as_ptr(topic) as usize
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        hub: Arc<Hub>,
        metrics: Arc<ConnectionMetrics>,
        moves: Arc<Moves>,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            stats: Arc::clone(&hub.workers[index].stats),
            metrics,
            replay: RefCell::new(Replay::new(hub.in_flight(false))),
            runs: RefCell::new(Runs::new(hub.in_flight(false))),
            hub,
            topics: RefCell::default(),
            connections: RefCell::default(),
            scratch: Cell::default(),
            turns: Turns::default(),
            limits_rates: Cell::default(),
            unheard: Unheard::default(),
            moves,
            recent: RefCell::default(),
            blocked_max_ms: Cell::new(0),
            slowest: RefCell::default(),
            blocked: RefCell::default(),
            gate: gate::Gate::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Looks at whether anything of how often peers may ask is limited.
    pub(crate) fn look_at_limits(&self, limits: &LimitsConfig) {
        self.limits_rates.set(!limits.rate.is_none());
    }

    pub(crate) fn handle(&self) -> &WorkerHandle {
        &self.hub.workers[self.index]
    }

    /// Serves sockets until `stop` is cancelled, and then until every connection is closed. How they are served the
    /// `doors` know.
    pub(crate) async fn run<D: Doors + 'static>(self: Rc<Self>, stop: CancellationToken, doors: D) {
        let mut never_ending = JoinSet::new();
        let never = CancellationToken::new();
        let doors = Rc::new(doors);
        let (rounds, turns, sweeps) =
            (Rc::clone(&self).rounds(), Rc::clone(&self).turns(), Rc::clone(&self).sweeps());
        let intake = Rc::clone(&self).intake(Rc::clone(&doors), stop.clone());
        let arrivals = Rc::clone(&self).arrivals();
        let (for_rounds, for_turns, for_intake) = (never.clone(), never.clone(), never.clone());
        let for_arrivals = never.clone();
        never_ending.spawn_local(async move { vital("arrivals", &for_arrivals, arrivals).await });
        never_ending.spawn_local(async move { vital("rounds", &for_rounds, rounds).await });
        never_ending.spawn_local(async move { vital("turns", &for_turns, turns).await });
        never_ending.spawn_local(async move { vital("intake", &for_intake, intake).await });
        never_ending.spawn_local(async move { vital("sweeps", &never, sweeps).await });
        if let Some(pause) = self.hub.config().server.testing.shuffle.filter(|_| self.hub.workers.len() > 1) {
            never_ending.spawn_local(Rc::clone(&self).shuffles(pause));
        }
        stop.cancelled().await;
        for socket in self.handle().inbox.close_to_sockets() {
            doors.turn_away(&socket);
        }
        self.drain().await;
        drop(never_ending);
        self.tasks.close();
        // What still runs then belongs to peers that had their time.
        drop(tokio::time::timeout(ENDING_MAX, self.tasks.wait()).await);
        self.handle().heartbeat.rest();
    }

    /// Counts a subscription of one of this worker's connections.
    pub(crate) fn add_subscription(&self, topic: &Arc<Topic>) {
        let mut topics = self.topics.borrow_mut();
        topics.entry(key(topic)).or_insert_with(|| LocalTopic::new(Arc::clone(topic))).subscriptions += 1;
        self.stats.subscriptions(topic.namespace.index, 1);
    }

    /// Ends a subscription that is in no group any more.
    pub(crate) fn remove_subscription(&self, topic: &Arc<Topic>) {
        topic.unsubscribe(self.index);
        self.hub.table.unsubscribed(topic);
        self.forget_subscription(topic);
    }

    /// Counts a subscription no more that is in no group any more, and that the topic counts as this worker's until it is
    /// another's.
    pub(crate) fn forget_subscription(&self, topic: &Arc<Topic>) {
        self.stats.subscriptions(topic.namespace.index, -1);
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(topic)).expect("a subscription keeps its topic here");
        local.subscriptions -= 1;
        if local.subscriptions == 0 {
            debug_assert_eq!(local.awaited, 0, "nobody is behind where nobody is");
            topics.remove(&key(topic));
            if topics.len() < topics.capacity() / 8 {
                let capacity = 2 * topics.len();
                topics.shrink_to(capacity);
            }
        }
    }

    /// Counts a subscription that is behind from now on, or no longer.
    pub(crate) fn count_behind(&self, connection: &Connection, topic: &Arc<Topic>, is_behind: bool) {
        self.stats.behind(if is_behind { 1 } else { -1 });
        if !connection.is_stuck() {
            self.count_awaited(topic, is_behind);
        }
    }

    /// Whether several subscribers of the topic are behind and take what they get.
    pub(crate) fn are_several_behind(&self, topic: &Arc<Topic>) -> bool {
        self.topics.borrow().get(&key(topic)).is_some_and(|local| local.awaited > 1)
    }

    /// Counts a subscription that is behind and takes what it gets, from now on or no longer.
    pub(crate) fn count_awaited(&self, topic: &Arc<Topic>, is_awaited: bool) {
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(topic)).expect("a subscription keeps its topic here");
        local.count_awaited(self.index, is_awaited);
    }

    /// The socket of a connection has taken nothing for so long.
    pub(crate) fn note_blocked(&self, connection: &Connection, ms: u32) {
        self.slowest.borrow_mut().note(ms, connection.id, connection.key);
        self.blocked_max_ms.set(self.blocked_max_ms.get().max(ms));
    }

    /// Looks after a connection whose socket takes no more.
    pub(crate) fn watch(&self, connection: &Rc<Connection>) {
        self.blocked.borrow_mut().push_back(Rc::downgrade(connection));
    }

    /// Puts a subscription in step, which stands after the topic's head.
    pub(crate) fn join(&self, connection: &Rc<Connection>, key_in_connection: usize, from: Cursor) {
        let (topic, echo) = connection.interest(key_in_connection);
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(&topic)).expect("a subscription keeps its topic here");
        let members = &mut local.groups[connection.encoding as usize].members;
        connection.put_in_step(key_in_connection, members.len());
        members.push(Member::new(connection, key_in_connection, from, echo));
    }

    /// Takes a subscription out of its group, if it is in step: it goes on from its own cursor.
    pub(crate) fn leave(&self, connection: &Connection, key_in_connection: usize) {
        let Some(slot) = connection.slot(key_in_connection) else { return };
        let (topic, _) = connection.interest(key_in_connection);
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(&topic)).expect("a subscription keeps its topic here");
        self.fall_behind(local, connection.encoding, slot);
    }

    /// Takes a member out of step; it goes on from its own cursor.
    fn fall_behind(&self, local: &mut LocalTopic, encoding: Encoding, slot: usize) -> Member {
        self.stats.behind(1);
        let group = &local.groups[encoding as usize];
        if !group.members[slot].connection.is_stuck() {
            local.count_awaited(self.index, true);
        }
        local.groups[encoding as usize].fall_behind(slot)
    }

    /// A subscription's own publications come back from now on, or no longer.
    pub(crate) fn set_echo(&self, connection: &Connection, key_in_connection: usize, echo: bool) {
        let Some(slot) = connection.slot(key_in_connection) else { return };
        let (topic, _) = connection.interest(key_in_connection);
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(&topic)).expect("a subscription keeps its topic here");
        local.groups[connection.encoding as usize].members[slot].echo = echo;
    }

    /// Takes a connection in; returns the key under which it is kept.
    pub(crate) fn insert(&self, connection: impl FnOnce(u32) -> Rc<Connection>) -> Rc<Connection> {
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let connection = connection(entry.key() as u32);
        entry.insert(Rc::clone(&connection));
        self.stats.connections(connection.encoding, 1);
        connection
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        self.connections.borrow_mut().remove(connection.key as usize);
        self.stats.connections(connection.encoding, -1);
    }

    /// Every connection.
    pub(crate) fn all_connections(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect()
    }

    /// Milliseconds since the process started: how connections keep times in 4 bytes, the same ones on every worker. Lasts
    /// 49 days and wraps, which differences survive.
    pub(crate) fn now_ms(&self) -> u32 {
        Uptime::now().as_ms() as u32
    }
}

impl group::Group {
    /// Takes a member out of step; it goes on from its own cursor.
    fn fall_behind(&mut self, slot: usize) -> Member {
        let member = self.members.swap_remove(slot);
        let (len, capacity) = (self.members.len(), self.members.capacity());
        if capacity > 64 && len < capacity / 4 {
            self.members.shrink_to(2 * len);
        }
        member.connection.put_behind(member.key(), member.from);
        if let Some(moved) = self.members.get(slot) {
            moved.connection.put_in_step(moved.key(), slot);
        }
        member
    }
}

#[cfg(test)]
pub(crate) mod tests;
