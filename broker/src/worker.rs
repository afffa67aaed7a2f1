//! One core's loop: its connections and the rounds that serve them. [hot; life of a publication: steps 4 to 7]
//!
//! A worker is one thread with one single-threaded runtime. It owns its connections outright, so nothing
//! between the ring and the socket is shared, locked or counted atomically.

pub(crate) mod group;
pub(crate) mod handle;
mod sweep;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::Offset;
use slab::Slab;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::subscription::Place;
use crate::connection::{Connection, PumpEnd};
use crate::hub::Hub;
use crate::metrics::WorkerStats;
use crate::topic::Topic;
use crate::topic::publication::{Encoding, Publication};
use group::{Batch, LocalTopic, Member};
use handle::{Sockets, WorkerHandle};

/// Most publications that one round delivers of one topic; more come in the next one.
const ROUND_COUNT_MAX: usize = 256;
/// A round stops taking publications of a topic once their payloads reach this.
const ROUND_BYTES_MAX: usize = 256 * 1024;
/// Writes after which a round lets reads, accepts and pings have their turn.
const WRITES_PER_TURN: usize = 64;
/// Publications that a worker takes in from its own connections before it delivers them: together
/// with the frames of one more message well below what the smallest ring keeps.
const TAKEN_COUNT_MAX: usize = 128;
/// And bytes of their payloads.
const TAKEN_BYTES_MAX: usize = 256 * 1024;
/// Connections that a round may have touched before it writes.
const TOUCHED_MAX: usize = 4096;
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
    /// Publications of the round at hand.
    publications: Cell<Vec<Arc<Publication>>>,
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

/// Whether a topic has more than one round delivers.
#[derive(Debug, PartialEq, Eq)]
enum Remaining {
    More,
    Nothing,
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
            publications: Cell::default(),
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
        let mut rounds = self.tasks.spawn_local(Rc::clone(&self).rounds());
        let sweeps = self.tasks.spawn_local(Rc::clone(&self).sweeps());
        loop {
            let socket = tokio::select! {
                () = stop.cancelled() => break,
                socket = sockets.recv() => socket,
                ended = &mut rounds => {
                    // A broker that accepts and no longer delivers would lose without a word.
                    tracing::error!(?ended, worker = self.index, "a worker's rounds ended; the process cannot go on");
                    std::process::abort();
                }
            };
            let Some(socket) = socket else { break };
            self.tasks.spawn_local(crate::http::serve(Rc::clone(&self), socket, stop.clone()));
        }
        sockets.close();
        self.drain().await;
        rounds.abort();
        sweeps.abort();
        self.tasks.close();
        // What still runs then belongs to peers that had their time.
        drop(tokio::time::timeout(ENDING_MAX, self.tasks.wait()).await);
    }

    /// Delivers dirty topics, for ever.
    async fn rounds(self: Rc<Self>) {
        let (mut dirty, mut touched) = (Vec::new(), Vec::new());
        let mut writes = 0;
        loop {
            self.handle().woken().await;
            loop {
                self.handle().take_dirty(&mut dirty);
                self.taken.set((0, 0));
                if dirty.is_empty() {
                    self.release();
                    break;
                }
                let started = Instant::now();
                let mut oldest = started;
                for topic in dirty.drain(..) {
                    self.deliver_dirty(&topic, &mut touched, &mut oldest);
                    if touched.len() >= TOUCHED_MAX {
                        self.write(&mut touched, &mut writes).await;
                    }
                }
                self.write(&mut touched, &mut writes).await;
                self.hub.metrics.fanout.observe(oldest.elapsed().as_secs_f64());
                self.stats.round(started.elapsed());
                self.release();
            }
        }
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

    fn deliver_dirty(&self, topic: &Arc<Topic>, touched: &mut Vec<Rc<Connection>>, oldest: &mut Instant) {
        topic.begin_reading(self.index);
        if self.deliver(topic, touched, oldest) == Remaining::More {
            topic.mark_dirty(self.index, self.handle());
        }
        topic.end_reading(self.index);
    }

    /// Queues what is new in the topic for every subscriber in step.
    fn deliver(
        &self,
        topic: &Arc<Topic>,
        touched: &mut Vec<Rc<Connection>>,
        oldest: &mut Instant,
    ) -> Remaining {
        let mut topics = self.topics.borrow_mut();
        let Some(local) = topics.get_mut(&key(topic)) else { return Remaining::Nothing };
        let mut publications = self.publications.take();
        let mut remaining = Remaining::Nothing;
        for (encoding, group) in Encoding::ALL.into_iter().zip(&mut local.groups) {
            if group.members.is_empty() {
                continue;
            }
            publications.clear();
            let Ok(head) = topic.read(group.next, ROUND_COUNT_MAX, ROUND_BYTES_MAX, &mut publications) else {
                // The ring has moved past the whole group: each finds out for itself what it missed.
                for slot in (0..group.members.len()).rev() {
                    let member = group.fall_behind(slot);
                    member.connection.wake();
                }
                continue;
            };
            let Some((first, last)) = publications.first().zip(publications.last()) else { continue };
            *oldest = first.content.received.min(*oldest);
            let batch = Batch::new(&publications, encoding);
            let next = last.offset.next();
            let mut delivered = 0;
            for slot in (0..group.members.len()).rev() {
                let member = &group.members[slot];
                if member.connection.is_blocked() {
                    group.fall_behind(slot);
                } else {
                    delivered += member.offer(&batch, &publications, touched);
                }
            }
            group.next = next;
            self.stats.delivered(topic.namespace.index, encoding, delivered);
            if next <= head.offset {
                remaining = Remaining::More;
            }
        }
        publications.clear();
        self.publications.set(publications);
        remaining
    }

    /// Writes every touched connection once, and lets others have their turn now and then; `writes` counts
    /// over all rounds, for many small ones may follow one another without a pause.
    async fn write(&self, touched: &mut Vec<Rc<Connection>>, writes: &mut usize) {
        for connection in touched.drain(..) {
            connection.write_round();
            *writes += 1;
            if (*writes).is_multiple_of(WRITES_PER_TURN) {
                tokio::task::yield_now().await;
            }
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
        if group.members.is_empty() {
            group.next = from;
        }
        debug_assert!(group.next <= from, "nobody joins behind the group");
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
            state.subscriptions[member.key].place = Place::Behind { next: member.from.max(self.next) };
            state.behind += 1;
        }
        if let Some(moved) = self.members.get(slot) {
            let mut state = moved.connection.state.borrow_mut();
            state.subscriptions[moved.key].place = Place::InStep { slot };
        }
        member
    }
}

impl Member {
    /// Queues the batch for this member, less what it does not want. Returns how many publications.
    fn offer(
        &self,
        batch: &Batch,
        publications: &[Arc<Publication>],
        touched: &mut Vec<Rc<Connection>>,
    ) -> u64 {
        let connection = &self.connection;
        let mut state = connection.state.borrow_mut();
        let not_by = (!self.echo).then_some(connection.id);
        let count = batch.parts(publications, self.from, not_by, |start, end| {
            state.outbox.push_shared(&batch.bytes, start, end);
        });
        drop(state);
        if count > 0 && !connection.touched.replace(true) {
            touched.push(Rc::clone(connection));
        }
        count
    }
}

impl Connection {
    /// Writes what a round queued.
    fn write_round(self: &Rc<Self>) {
        self.touched.set(false);
        if self.write() == PumpEnd::Blocked {
            // Its own task waits for the socket and catches up.
            self.wake();
        }
    }
}
