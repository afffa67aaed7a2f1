//! One core: its connections, and what it keeps of the topics that they subscribe to.
//!
//! A worker is one thread with one single-threaded runtime. It owns its connections outright, so nothing
//! between the ring and the socket is shared, locked or counted atomically.

pub(crate) mod group;
pub(crate) mod handle;
pub(crate) mod heartbeat;
mod round;
mod sweep;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::Offset;
use slab::Slab;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::connection::subscription::Place;
use crate::hub::Hub;
use crate::metrics::WorkerStats;
use crate::supervise::vital;
use crate::topic::Topic;
use group::{LocalTopic, Member};
use handle::{Sockets, WorkerHandle};

/// Publications that a worker takes in from its own connections before it delivers them: together
/// with the frames of one more message well below what the smallest ring keeps.
const TAKEN_COUNT_MAX: usize = 128;
/// And bytes of their payloads.
const TAKEN_BYTES_MAX: usize = 256 * 1024;
/// How long a worker waits for its last tasks when every connection is closed.
const ENDING_MAX: Duration = Duration::from_secs(3);
/// Bytes that one read takes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// One core's state. Lives on one thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) hub: Arc<Hub>,
    pub(crate) stats: Arc<WorkerStats>,
    /// By the topic's address, which its `Arc` keeps from being given to another.
    topics: RefCell<HashMap<usize, LocalTopic>>,
    connections: RefCell<Slab<Rc<Connection>>>,
    /// Where every connection's bytes are read into.
    pub(crate) scratch: Cell<Vec<u8>>,
    /// How many publications its own connections made since the last round, and their bytes.
    taken: Cell<(usize, usize)>,
    /// Connections that publish on after the next round. Each is in here at most once.
    held_up: RefCell<Vec<Rc<Connection>>>,
    /// Ends when the worker has no more to do.
    pub(crate) tasks: TaskTracker,
    started: Instant,
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
    pub(crate) fn new(index: usize, hub: Arc<Hub>) -> Rc<Self> {
        Rc::new(Self {
            index,
            stats: hub.metrics.worker(index),
            hub,
            topics: RefCell::default(),
            connections: RefCell::default(),
            scratch: Cell::default(),
            taken: Cell::default(),
            held_up: RefCell::default(),
            tasks: TaskTracker::new(),
            started: Instant::now(),
        })
    }

    pub(crate) fn handle(&self) -> &WorkerHandle {
        &self.hub.workers[self.index]
    }

    /// Serves sockets until `stop` is cancelled, and then until every connection is closed.
    pub(crate) async fn run(self: Rc<Self>, mut sockets: Sockets, stop: CancellationToken) {
        let mut never_ending = JoinSet::new();
        let never = CancellationToken::new();
        let (rounds, sweeps) = (Rc::clone(&self).rounds(), Rc::clone(&self).sweeps());
        let until = never.clone();
        never_ending.spawn_local(async move { vital("rounds", &until, rounds).await });
        never_ending.spawn_local(async move { vital("sweeps", &never, sweeps).await });
        loop {
            let socket = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                socket = sockets.recv() => socket,
            };
            let Some(socket) = socket else { break };
            self.tasks.spawn_local(crate::http::serve(Rc::clone(&self), socket, stop.clone()));
        }
        sockets.close();
        while let Ok(socket) = sockets.try_recv() {
            crate::acceptor::turn_away(&socket.stream);
        }
        self.drain().await;
        drop(never_ending);
        self.tasks.close();
        // What still runs then belongs to peers that had their time.
        drop(tokio::time::timeout(ENDING_MAX, self.tasks.wait()).await);
        self.handle().heartbeat.rest();
    }

    /// Counts a publication that one of this worker's connections made.
    pub(crate) fn taken_in(&self, bytes: usize) {
        let (count, total) = self.taken.get();
        self.taken.set((count + 1, total + bytes));
    }

    /// Whether its connections have published so much since the last round that there should be one first.
    /// Subscribers share this thread with the publisher: a long burst would be out of the ring before they
    /// had their turn.
    pub(crate) fn is_full(&self) -> bool {
        let (count, total) = self.taken.get();
        count >= TAKEN_COUNT_MAX || total >= TAKEN_BYTES_MAX
    }

    /// Wakes the connection after the next round.
    pub(crate) fn hold_up(&self, connection: &Rc<Connection>) {
        if !connection.is_held_up.replace(true) {
            self.held_up.borrow_mut().push(Rc::clone(connection));
            self.handle().nudge();
        }
    }

    fn release(&self) {
        for connection in self.held_up.take() {
            connection.is_held_up.set(false);
            connection.wake();
        }
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
        self.stats.subscriptions(topic.namespace.index, -1);
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(topic)).expect("a subscription keeps its topic here");
        local.subscriptions -= 1;
        if local.subscriptions == 0 {
            topics.remove(&key(topic));
        }
    }

    /// Puts a subscription in step: it has everything before `from`, which is after the topic's head.
    pub(crate) fn join(&self, connection: &Rc<Connection>, key_in_connection: usize, from: Offset) {
        let mut state = connection.state.borrow_mut();
        let subscription = &mut state.subscriptions[key_in_connection];
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(&subscription.topic)).expect("a subscription keeps its topic here");
        let group = &mut local.groups[connection.encoding as usize];
        subscription.place = Place::InStep { slot: group.members.len() };
        let member = Member {
            connection: Rc::clone(connection),
            key: key_in_connection,
            from,
            echo: subscription.echo,
        };
        group.members.push(member);
    }

    /// Takes a subscription out of its group, if it is in step: it goes on from its own cursor.
    pub(crate) fn leave(&self, connection: &Connection, key_in_connection: usize) {
        let (topic, slot) = {
            let state = connection.state.borrow();
            let subscription = &state.subscriptions[key_in_connection];
            let Place::InStep { slot } = subscription.place else { return };
            (Arc::clone(&subscription.topic), slot)
        };
        let mut topics = self.topics.borrow_mut();
        let local = topics.get_mut(&key(&topic)).expect("a subscription keeps its topic here");
        local.groups[connection.encoding as usize].fall_behind(slot);
    }

    /// Changes whether a subscription's own publications come back.
    pub(crate) fn set_echo(&self, connection: &Connection, key_in_connection: usize, echo: bool) {
        let mut state = connection.state.borrow_mut();
        let subscription = &mut state.subscriptions[key_in_connection];
        subscription.echo = echo;
        if let Place::InStep { slot } = subscription.place {
            let mut topics = self.topics.borrow_mut();
            let local =
                topics.get_mut(&key(&subscription.topic)).expect("a subscription keeps its topic here");
            local.groups[connection.encoding as usize].members[slot].echo = echo;
        }
    }

    /// Takes a connection in; returns the key under which it is kept.
    pub(crate) fn insert(&self, connection: impl FnOnce(usize) -> Rc<Connection>) -> Rc<Connection> {
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let connection = connection(entry.key());
        entry.insert(Rc::clone(&connection));
        self.stats.connections(connection.encoding, 1);
        connection
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        self.connections.borrow_mut().remove(connection.key);
        self.stats.connections(connection.encoding, -1);
    }

    /// Milliseconds since the worker started: how connections keep times in 4 bytes. Lasts 49 days and
    /// wraps, which differences survive.
    pub(crate) fn now_ms(&self) -> u32 {
        self.started.elapsed().as_millis() as u32
    }
}

impl group::Group {
    /// Takes a member out of step; it goes on from its own cursor.
    fn fall_behind(&mut self, slot: usize) -> Member {
        let member = self.members.swap_remove(slot);
        {
            let mut state = member.connection.state.borrow_mut();
            state.subscriptions[member.key].place = Place::Behind { next: member.from };
            state.behind += 1;
        }
        if let Some(moved) = self.members.get(slot) {
            let mut state = moved.connection.state.borrow_mut();
            state.subscriptions[moved.key].place = Place::InStep { slot };
        }
        member
    }
}
