//! The topic table: topics by name, in shards, and what is to be done with them when.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use fanfare_protocol::{Epoch, ErrorCode, Offset, Position, TopicName, TopicRef};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::accounts::Accounts;
use super::agenda::Agenda;
use super::index::{Index, Names};
use super::recency::Recency;
use super::{LIVE, Topic};
use crate::budget::Budget;
use crate::clock::Uptime;
use crate::namespaces::Namespaces;

/// Shards of the table: so many that threads seldom meet, and that a shard which grows is soon done with it.
const SHARDS: usize = 256;
/// Counters of a shard that tell the epochs of topics forgotten and made anew from the ones before. The more there
/// are, the less often a topic that is forgotten takes the epoch of another with it to which nothing was published.
const GENERATIONS: usize = 256;
/// Shards of the deadlines.
const DEADLINES: usize = 16;
/// Topics that are looked at because they are due before others have their turn.
const DUE_SLICE: usize = 128;
/// A topic that was due is not looked at again sooner: what could not go then is still on its way to somebody.
const DUE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Names of a listing after which others have their turn.
const LIST_SLICE: usize = 64;

/// All topics, by name.
#[derive(Debug)]
pub struct TopicTable {
    shards: Box<[Shard]>,
    /// Hashes names for the table. Nothing that is made with its keys is ever told.
    hasher: RandomState,
    /// Makes epochs.
    epochs: RandomState,
    /// The names in order. Invariant: holds the names of exactly the topics in `shards`, as it is changed under
    /// their locks.
    index: Index,
    namespaces: Namespaces,
    budget: Arc<Budget>,
    /// How many topics there may be.
    limit: usize,
    count: AtomicUsize,
    workers: usize,
    accounts: Arc<Accounts>,
    /// Topics by when something of them can outlive its time.
    deadlines: [Agenda<Topic>; DEADLINES],
    recency: Recency,
}

/// Hashed once, a name leads to its place by the hash alone; only there it is compared.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(RwLock<Topics>);

#[derive(Debug)]
struct Topics {
    by_name: HashTable<Slot>,
    generations: [u32; GENERATIONS],
}

/// A topic with its name's hash, so that a table which grows does not have to look at every topic.
#[derive(Debug)]
struct Slot {
    hash: u64,
    topic: Arc<Topic>,
}

/// No topic of that name is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// Where the topic will stand if it is the next one made: nothing was published to it.
    pub position: Position,
}

/// Why a topic is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// There are as many topics as there may be.
    #[error("the broker has as many topics as it may; try again a little later")]
    Table,
    /// The user's subscriptions hold as many topics as they may.
    #[error("your subscriptions hold as many topics as they may to which nobody has published")]
    User,
}

impl NoRoom {
    /// The error code that says so.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Table => ErrorCode::Unavailable,
            Self::User => ErrorCode::LimitExceeded,
        }
    }
}

/// For whom a topic is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Maker<'a> {
    Publisher,
    /// Somebody who subscribes, by name if they have one.
    Subscriber(Option<&'a Arc<str>>),
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) topics: Vec<Arc<Topic>>,
    /// The last name of the page, where there may be more behind it.
    pub(crate) cursor: Option<TopicName>,
}

impl Shard {
    fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Topics> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics {
    fn generation(&mut self, hash: u64) -> &mut u32 {
        &mut self.generations[generation_of(hash)]
    }
}

// The table in a shard takes the lowest and the highest bits, the index its own.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

fn generation_of(hash: u64) -> usize {
    (hash >> 40) as usize % GENERATIONS
}

fn index_hash(hash: u64) -> u64 {
    hash >> 48
}

impl TopicTable {
    pub(crate) fn new(
        namespaces: Namespaces,
        budget: Arc<Budget>,
        limit: usize,
        limit_per_user: usize,
        workers: usize,
    ) -> Self {
        let shard =
            || Shard(RwLock::new(Topics { by_name: HashTable::new(), generations: [0; GENERATIONS] }));
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            epochs: RandomState::new(),
            index: Index::default(),
            namespaces,
            budget,
            limit,
            count: AtomicUsize::new(0),
            workers,
            // A quarter is left to those who publish.
            accounts: Accounts::new(limit_per_user, limit - limit / 4),
            deadlines: std::array::from_fn(|_| Agenda::new(|topic: &Topic| &topic.ledger.deadline)),
            recency: Recency::new(),
        }
    }

    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[shard_of(hash)]
    }

    fn epoch(&self, name: &str, generation: u32) -> Epoch {
        Epoch::from_number(self.epochs.hash_one((name, generation)))
    }

    /// The topic of that name.
    ///
    /// # Errors
    /// [`Absent`] where there is none; it is not made.
    pub fn find(&self, name: &str) -> Result<Arc<Topic>, Absent> {
        self.find_hashed(self.hasher.hash_one(name), name).map_err(|generation| Absent {
            position: Position { epoch: self.epoch(name, generation), offset: Offset::ZERO },
        })
    }

    fn find_hashed(&self, hash: u64, name: &str) -> Result<Arc<Topic>, u32> {
        let topics = self.shard(hash).read();
        match topics.by_name.find(hash, |slot| slot.is(hash, name)) {
            Some(slot) => Ok(Arc::clone(&slot.topic)),
            None => Err(topics.generations[generation_of(hash)]),
        }
    }

    /// The topic of that name, made if there is none.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(crate) fn get_or_create(&self, name: &TopicRef<'_>, maker: Maker<'_>) -> Result<Arc<Topic>, NoRoom> {
        let hash = self.hasher.hash_one(name.as_str());
        if let Ok(topic) = self.find_hashed(hash, name.as_str()) {
            return Ok(topic);
        }
        if self.count.load(Ordering::Relaxed) >= self.limit {
            return Err(NoRoom::Table);
        }
        let entry = match maker {
            Maker::Publisher => None,
            Maker::Subscriber(user) => Some(self.accounts.enter(user)?),
        };
        let namespace = Arc::clone(self.namespaces.get(name.namespace()));
        let name = name.to_name();
        let mut topics = self.shard(hash).write();
        // Under the lock, or it could be the epoch of one that was made and forgotten meanwhile.
        let epoch = self.epoch(name.as_str(), *topics.generation(hash));
        let is_it = |slot: &Slot| slot.is(hash, name.as_str());
        let place = match topics.by_name.entry(hash, is_it, |slot| slot.hash) {
            Entry::Occupied(there) => return Ok(Arc::clone(&there.get().topic)),
            Entry::Vacant(place) => place,
        };
        let topic = Topic::new(name.clone(), namespace, epoch, self.workers, &self.budget);
        if let Some(entry) = entry {
            topic.ledger.account.open(entry);
        }
        place.insert(Slot { hash, topic: Arc::clone(&topic) });
        self.index.insert(index_hash(hash), name);
        drop(topics);
        self.count.fetch_add(1, Ordering::Relaxed);
        topic.namespace.figures.topics_changed(1);
        // Whatever becomes of it, it is looked at once.
        self.file_by(&topic, Uptime::now().plus(LIVE));
        Ok(topic)
    }

    /// Takes a retired topic out, so that the next look-up makes it anew.
    pub(crate) fn forget(&self, topic: &Arc<Topic>) {
        let hash = self.hasher.hash_one(topic.name.as_str());
        let was_used = topic.position().offset > Offset::ZERO;
        let mut topics = self.shard(hash).write();
        let Ok(there) = topics.by_name.find_entry(hash, |slot| Arc::ptr_eq(&slot.topic, topic)) else {
            return;
        };
        there.remove();
        if was_used {
            // Its positions are never given again.
            let generation = topics.generation(hash);
            *generation = generation.wrapping_add(1);
        }
        let Topics { by_name, .. } = &mut *topics;
        if by_name.len() * 8 < by_name.capacity() {
            by_name.shrink_to(by_name.len() * 2, |slot| slot.hash);
        }
        self.index.remove(index_hash(hash), &topic.name);
        drop(topics);
        self.count.fetch_sub(1, Ordering::Relaxed);
        topic.namespace.figures.topics_changed(-1);
        topic.ledger.account.close();
        self.recency.leave(topic);
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The namespaces.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The budget of retained bytes.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The topics with these names, which are in order, that come after `after`: at most `limit`. It costs what it
    /// gives, and lets others have their turn.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub(crate) async fn list(&self, names: &[Names], after: Option<&str>, limit: usize) -> Page {
        let mut page = Page::default();
        let mut looked_at = 0;
        for names in names {
            let mut scan = match names {
                Names::Prefix(prefix) => Some(self.index.scan(prefix, after, limit - page.topics.len())),
                Names::Exact(_) => None,
            };
            let mut exact = match names {
                Names::Exact(name) if after.is_none_or(|after| name.as_str() > after) => Some(name.as_str()),
                Names::Exact(_) | Names::Prefix(_) => None,
            };
            loop {
                looked_at += 1;
                if looked_at % LIST_SLICE == 0 {
                    tokio::task::yield_now().await;
                }
                let found = match (exact.take(), scan.as_mut().and_then(Iterator::next)) {
                    (Some(name), _) => self.find(name),
                    (None, Some(name)) => self.find(name.as_str()),
                    (None, None) => break,
                };
                // One that was forgotten meanwhile is left out.
                page.topics.extend(found.ok());
                if page.topics.len() >= limit {
                    page.cursor = page.topics.last().map(|topic| topic.name.clone());
                    return page;
                }
            }
        }
        page
    }

    /// Something was published to the topic, and its subscribers were told. Costs a few loads where nothing is to
    /// be noted and the budget is kept.
    pub(crate) fn published(&self, topic: &Arc<Topic>) {
        topic.ledger.account.close();
        self.recency.enter(topic);
        self.file_by(topic, topic.ledger.due());
        self.enforce_budget();
    }

    /// A subscription of the topic has ended.
    pub(crate) fn unsubscribed(&self, topic: &Arc<Topic>) {
        if topic.subscriptions() == 0 {
            // Whoever looks at the topic just now either sees that nobody subscribes, or is seen to have it out of
            // the deadlines.
            fence(Ordering::SeqCst);
            self.file_by(topic, Uptime::now().plus(LIVE));
        }
    }

    /// Has the topic looked at by then; nothing of a moment that never comes.
    fn file_by(&self, topic: &Arc<Topic>, at: Uptime) {
        if at < Uptime::from_ms(u64::MAX) {
            // Topics are 128 bytes apart at least.
            let shard = (Arc::as_ptr(topic).addr() >> 7) % DEADLINES;
            self.deadlines[shard].file(topic, at);
        }
    }

    /// Forgets what has outlived its time until now, topic by topic, and history where the budget is passed. What is
    /// not due costs nothing, and others have their turn in between.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken from the deadlines that is not done before others have their turn.
    pub(crate) async fn tend(&self) {
        let now = Uptime::now();
        let mut due = Vec::new();
        for deadlines in &self.deadlines {
            loop {
                deadlines.take_until(now, DUE_SLICE, &mut due);
                if due.is_empty() {
                    break;
                }
                for topic in due.drain(..) {
                    self.visit(&topic, now);
                }
                tokio::task::yield_now().await;
            }
        }
        while self.enforce_budget() {
            tokio::task::yield_now().await;
        }
    }

    /// Forgets what the topic has outlived, and the topic itself where that has outlived its time.
    fn visit(&self, topic: &Arc<Topic>, now: Uptime) {
        fence(Ordering::SeqCst);
        if topic.expire(now) {
            self.forget(topic);
            return;
        }
        self.recency.leave(topic);
        self.file_by(topic, topic.ledger.due().max(now.plus(DUE_AGAIN_MIN)));
    }

    /// Evicts history of the least recently used topics until the budget is kept, or as much as one call may. Costs
    /// a load while the budget is kept. Returns whether there is more to do.
    pub(crate) fn enforce_budget(&self) -> bool {
        self.budget.is_over() && self.recency.evict(&self.budget).has_more
    }
}

impl Slot {
    fn is(&self, hash: u64, name: &str) -> bool {
        self.hash == hash && self.topic.name.as_str() == name
    }
}

#[cfg(test)]
mod tests;
