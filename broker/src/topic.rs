//! A topic: its ring, its position, and which workers have subscribers of it.
//! [hot; life of a publication: steps 2 to 4]
//!
//! It must not know a connection, a grant or an engine: it appends what it is given, and wakes workers by their
//! mailboxes.

mod agenda;
mod append;
pub mod duplicates;
mod hashed;
pub(crate) mod index;
mod interest;
mod keeping;
mod ledger;
pub mod limit;
pub mod mailbox;
pub(crate) mod metrics;
mod permits;
pub mod publication;
mod recency;
pub mod ring;
pub mod table;

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_protocol::{Epoch, Position, TopicName};
use smallvec::SmallVec;

use crate::budget::{Budget, Charge, allocated_bytes};
use crate::clock::Uptime;
use crate::namespaces::Namespace;
use crate::namespaces::config::Retention;
pub use append::At;
use duplicates::Duplicates;
use interest::Interest;
use ledger::Ledger;
use publication::Publication;
use ring::{Cursor, Lagged, Ring, Seq};

/// Subscriptions of a topic from which on it is large: who subscribes then is not brought to the others.
const SMALL_MAX: usize = 128;
/// Publications looked at before the lock is given up for a moment.
const LOOKED_AT_MAX: usize = 256;

/// Where topics with something new wait for a worker.
pub type Mailbox = mailbox::Mailbox<Arc<Topic>>;

/// The mailboxes of all workers, by index.
pub type Mailboxes = [Arc<Mailbox>];

/// A named, ordered stream of publications.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its namespace, which says what it keeps.
    pub namespace: Arc<Namespace>,
    /// Which workers want to hear of publications.
    interests: SmallVec<[Interest; 4]>,
    /// Subscriptions on their way from one worker to another, and those that have come and are yet to catch up: what they want
    /// is kept as for whoever is behind. Changed under the lock, so that an append sees each here or among those that are behind.
    moving: AtomicU32,
    /// The first index that those of them have yet to get that were in step: it is not even evicted, as what a worker has yet to
    /// read. Looked at and changed under the lock.
    moving_from: AtomicU64,
    /// When it was last used, as an [`Uptime`] in milliseconds: what the budget evicts by.
    used_at: AtomicU64,
    /// What the table keeps of it.
    pub(crate) ledger: Ledger,
    /// Whether it keeps anything that could be evicted.
    keeps: AtomicBool,
    /// Its namespace's part of what may be retained.
    budget: Arc<Budget>,
    state: Mutex<State>,
}

/// With the counts of its `Arc` it fits in six cache lines, on the platforms that are measured; with more than four
/// workers their interests lie elsewhere.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Topic>() + 16 <= 384);

/// What the table takes for a topic beside the topic and its name: its entry, and its places in the index, among the
/// deadlines and among those by use.
const PLACES_BYTES: usize = 224;

#[derive(Debug)]
struct State {
    epoch: Epoch,
    ring: Ring<Arc<Publication>>,
    duplicates: Duplicates,
    /// The charge for the ring's own table and the message ids, and for the topic itself while it keeps something.
    charge: Charge,
    /// When something was last published.
    published_at: Uptime,
    /// Publications that the namespace's figures count of it.
    counted: u32,
    /// The bytes of those publications.
    counted_bytes: usize,
    /// The table has dropped the topic: whoever still holds it must look it up anew.
    is_retired: bool,
    /// Its positions come from elsewhere, and it is known where it stands.
    is_following: bool,
}

/// The topic was dropped from the table meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired;

/// A publication that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands.
    pub position: Position,
    /// Whether it was there before: published under the same message id, or at that position.
    pub is_duplicate: bool,
}

/// Where a topic stands: its newest publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The position, as clients know it.
    pub position: Position,
    /// Its index in the ring.
    pub seq: Seq,
}

/// The place where a subscription is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the newest so many publications.
    History(u64),
    /// After this position.
    Since(Position),
    /// At the head, for one who may not be told of what was before: but whether there was anything after this position.
    Live(Position),
}

/// The place where a subscription has begun.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionStart {
    /// The head at that moment.
    pub head: Head,
    /// The first publication to deliver.
    pub from: Cursor,
    /// What became of the position asked for.
    pub resume: Option<Resume>,
    /// The worker where the others of its few subscribers are; `None` where they are many, or there are none.
    pub home: Option<usize>,
}

/// What a topic can replay to somebody who asks to continue from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Everything after the position.
    Whole,
    /// The count of what is missed, none of which can be had in full; unknown when the epoch changed.
    Missed(Option<u64>),
}

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        namespace: Arc<Namespace>,
        epoch: Epoch,
        workers: usize,
        budget: &Arc<Budget>,
    ) -> Arc<Self> {
        let now = Uptime::now();
        Arc::new(Self {
            name,
            namespace,
            interests: (0..workers).map(|_| Interest::default()).collect(),
            moving: AtomicU32::new(0),
            moving_from: AtomicU64::new(u64::MAX),
            used_at: AtomicU64::new(now.as_ms()),
            ledger: Ledger::default(),
            keeps: AtomicBool::new(false),
            budget: Arc::clone(budget),
            state: Mutex::new(State {
                epoch,
                ring: Ring::default(),
                duplicates: Duplicates::default(),
                charge: budget.charge(0),
                published_at: now,
                counted: 0,
                counted_bytes: 0,
                is_retired: false,
                is_following: false,
            }),
        })
    }

    /// What it takes before it keeps anything.
    fn own_bytes(&self) -> usize {
        let is_apart = self.interests.spilled();
        let interests = if is_apart { self.interests.capacity() * size_of::<Interest>() } else { 0 };
        allocated_bytes(size_of::<Self>() + 16)
            + allocated_bytes(self.name.as_str().len() + 16)
            + allocated_bytes(interests)
            + PLACES_BYTES
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if some did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every worker that has subscribers of this topic, once until it looks. Called after each
    /// publication appended.
    pub(crate) fn wake(self: &Arc<Self>, mailboxes: &Mailboxes) {
        for (mailbox, interest) in mailboxes.iter().zip(&self.interests) {
            if interest.tell() {
                mailbox.put(Arc::clone(self));
            }
        }
    }

    /// The worker is about to look: whatever is published from now on must wake it again.
    pub(crate) fn take_note(&self, worker: usize) {
        self.interests[worker].take_note();
    }

    /// The worker has read everything up to that index for its subscribers in step. From then on the ordinary
    /// bounds decide what is kept of it.
    pub(crate) fn has_read(&self, worker: usize, to: Seq) {
        self.interests[worker].has_read(to);
    }

    /// Whether the worker has been told of something and has not begun to read it.
    pub(crate) fn is_dirty(&self, worker: usize) -> bool {
        self.interests[worker].is_dirty()
    }

    /// Has the worker look again, unless somebody has just told it to.
    pub(crate) fn mark_dirty(self: &Arc<Self>, worker: usize, mailbox: &Mailbox) {
        if self.interests[worker].mark_dirty() {
            mailbox.put(Arc::clone(self));
        }
    }

    /// What it keeps, as its namespace says now.
    pub(crate) fn retention(&self) -> Retention {
        self.namespace.retention(&self.name)
    }

    /// Registers a subscription of that worker, and says where it begins.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again.
    pub(crate) fn subscribe(&self, worker: usize, start: Start) -> Result<SubscriptionStart, Retired> {
        let now = Uptime::now();
        let mut state = self.lock();
        if state.is_retired {
            return Err(Retired);
        }
        // Of two that come first at once the second sees the first, which stays where it is.
        let home = self.home(worker, 0);
        self.interests[worker].subscribe(state.ring.head());
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        self.end_history_in_time(&mut state, now);
        let head = state.head();
        let (from, resume) = match start {
            Start::History(count) => (state.ring.newest(count), None),
            Start::Since(since) => state.resume(since),
            Start::Live(since) => (state.ring.end(), Some(state.missed(since))),
        };
        Ok(SubscriptionStart { head, from, resume, home })
    }

    /// Ends a subscription of that worker.
    pub(crate) fn unsubscribe(&self, worker: usize) {
        // First, so that whoever sees nobody subscribe sees until when somebody did.
        self.used_at.store(Uptime::now().as_ms(), Ordering::Relaxed);
        self.interests[worker].unsubscribe();
    }

    /// How many subscriptions it has, over all workers.
    pub fn subscriptions(&self) -> usize {
        let here = |interest: &Interest| interest.subscriptions() as usize;
        self.interests.iter().map(here).sum()
    }

    /// A subscription leaves its worker, as whose it counts until it [is](Self::arrive) another's. One that was in step is yet
    /// to get all that follows `from` that index on.
    pub(crate) fn begin_move(&self, from: Option<Seq>) {
        let _lock = self.lock();
        self.moving.fetch_add(1, Ordering::SeqCst);
        if let Some(from) = from {
            self.moving_from.fetch_min(from.get(), Ordering::Relaxed);
        }
    }

    /// The subscription is no longer the `old` worker's but the `new` one's, which is told of what there is by nobody: it has to
    /// look.
    pub(crate) fn arrive(&self, old: usize, new: usize) {
        let state = self.lock();
        debug_assert!(!state.is_retired, "a topic stays while it has a subscription");
        self.interests[new].subscribe(state.ring.head());
        self.interests[old].unsubscribe();
    }

    /// The subscription has caught up, has had its time for that, or is gone.
    pub(crate) fn end_move(&self) {
        let _lock = self.lock();
        if self.moving.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.moving_from.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Whether subscriptions of it move just now.
    fn is_moved(&self) -> bool {
        self.moving.load(Ordering::SeqCst) > 0
    }

    /// Whether its subscriptions are few, which are brought together on one worker.
    pub(crate) fn is_small(&self) -> bool {
        self.subscriptions() < SMALL_MAX
    }

    /// The worker where most of its few subscribers are, but for `own` ones of that worker: of several the worker itself, or else the
    /// first. `None` where they are many, or there are no others.
    pub(crate) fn home(&self, worker: usize, own: u32) -> Option<usize> {
        if !self.is_small() {
            return None;
        }
        let others = |nth: usize| {
            let count = self.interests[nth].subscriptions();
            if nth == worker { count.saturating_sub(own) } else { count }
        };
        let order = |&nth: &usize| (others(nth), nth == worker, Reverse(nth));
        (0..self.interests.len()).max_by_key(order).filter(|&home| others(home) > 0)
    }

    /// Where it stands.
    pub fn head(&self) -> Head {
        self.lock().head()
    }

    /// The epoch and the newest offset.
    pub fn position(&self) -> Position {
        self.head().position
    }

    /// The publications from an index on: at most `count`, and no more once their payloads reach `bytes`.
    /// Meant for delivery, so it also sees what is kept beyond the history.
    ///
    /// # Errors
    /// [`Behind`] when it is no longer kept.
    pub(crate) fn read(
        &self,
        from: Seq,
        count: usize,
        bytes: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Result<Head, Behind> {
        let state = self.lock();
        let mut total = 0;
        let kept = state.ring.since(from).map_err(|lagged| Behind { lagged, epoch: state.epoch })?;
        for publication in kept.take(count) {
            total += publication.content.payload.as_bytes().len();
            out.push(Arc::clone(publication));
            if total >= bytes {
                break;
            }
        }
        Ok(state.head())
    }

    /// How many publications from `from` up to the head are `wanted`. Others have the lock in between.
    ///
    /// # Errors
    /// [`Lagged`] when they are no longer kept.
    pub(crate) fn count(
        &self,
        mut from: Seq,
        head: Head,
        wanted: impl Fn(&Publication) -> bool,
    ) -> Result<u64, Lagged> {
        let mut counted = 0;
        while from <= head.seq {
            let most = (head.seq.next().since(from) as usize).min(LOOKED_AT_MAX);
            let state = self.lock();
            counted += state.ring.since(from)?.take(most).filter(|p| wanted(p)).count() as u64;
            from = from.plus(most);
        }
        Ok(counted)
    }

    /// The history: after `since` the oldest `limit` publications, without it the newest `limit`; from the
    /// same end at most so many as have `bytes` together by the `measure`, but always one.
    pub(crate) fn history(
        &self,
        since: Option<Position>,
        limit: usize,
        bytes: usize,
        measure: impl Fn(&Publication) -> usize,
    ) -> (Position, Vec<Arc<Publication>>) {
        let (position, mut all) = {
            let mut state = self.lock();
            self.end_history_in_time(&mut state, Uptime::now());
            let position = state.head().position;
            let begin = state.ring.history().next;
            let from = match since {
                Some(since) if since.epoch == position.epoch => {
                    state.ring.after(since.offset).map_or(begin, |cursor| cursor.next.max(begin))
                }
                Some(_) => begin,
                None => state.ring.newest(limit as u64).next,
            };
            let kept = state.ring.since(from).into_iter().flatten();
            (position, kept.take(limit).map(Arc::clone).collect::<Vec<_>>())
        };
        let (mut total, mut is_first) = (0, true);
        let mut fits = |publication: &Arc<Publication>| {
            total += measure(publication);
            std::mem::take(&mut is_first) || total <= bytes
        };
        if since.is_some() {
            let count = all.iter().take_while(|p| fits(p)).count();
            all.truncate(count);
        } else {
            let count = all.iter().rev().take_while(|p| fits(p)).count();
            all.drain(..all.len() - count);
        }
        (position, all)
    }

    /// Ends the history when nothing was published for so long that it is over: exact, though what is over its
    /// time is only dropped now and then.
    fn end_history_in_time(&self, state: &mut State, now: Uptime) {
        if now.since(state.published_at) >= self.retention().history_ttl {
            state.ring.end_history();
        }
    }

    /// How many publications are kept, and their bytes.
    #[cfg(test)]
    fn kept(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ring.len(), state.ring.bytes())
    }

    /// When it was last used.
    pub(crate) fn used_at(&self) -> Uptime {
        Uptime::from_ms(self.used_at.load(Ordering::Relaxed))
    }
}

/// A cursor points before the oldest publication kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) lagged: Lagged,
    /// The epoch of what is kept.
    pub(crate) epoch: Epoch,
}

impl State {
    fn head(&self) -> Head {
        Head {
            position: Position { epoch: self.epoch, offset: self.ring.head_offset() },
            seq: self.ring.head(),
        }
    }

    /// Where somebody goes on who has everything up to `since`: all or nothing.
    fn resume(&self, since: Position) -> (Cursor, Option<Resume>) {
        let end = self.ring.end();
        if since.epoch != self.epoch || since.offset > end.after {
            return (end, Some(Resume::Missed(None)));
        }
        match self.ring.after(since.offset) {
            Some(from) if from.next >= self.ring.history().next.min(end.next) => (from, Some(Resume::Whole)),
            _ => (end, Some(Resume::Missed(self.ring.count_after(since.offset)))),
        }
    }

    /// What somebody misses who has everything up to `since` and goes on at the head.
    fn missed(&self, since: Position) -> Resume {
        match self.resume(since) {
            (from, Some(Resume::Whole)) if from.next < self.ring.end().next => {
                Resume::Missed(self.ring.count_after(since.offset))
            }
            (_, resume) => resume.unwrap_or(Resume::Missed(None)),
        }
    }

    /// Charges what the tables take now, and the topic itself, whose state this is, while it keeps something.
    fn recharge(&self, topic: &Topic) {
        let tables = allocated_bytes(self.ring.table_bytes()) + self.duplicates.heap_bytes();
        let keeps = !self.ring.is_empty() || !self.duplicates.is_empty();
        let bytes = if keeps { tables + topic.own_bytes() } else { tables };
        if bytes != self.charge.bytes() {
            self.charge.set(bytes);
        }
    }
}
