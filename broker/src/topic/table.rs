//! The topic table: topics by name, in shards, and what is to be done with them when.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use fanfare_protocol::{Epoch, Offset, Position, TopicName, TopicRef};
use smallvec::SmallVec;

use super::agenda::Agenda;
use super::hashed::{Hashed, Named, Passed};
use super::index::Index;
use super::keeping::LIVE;
use super::limit::TopicLimit;
use super::permits::TopicPermits;
use super::recency::Recency;
use super::{Mailboxes, Topic};
use crate::budget::Budget;
use crate::clock::Uptime;
use crate::namespaces::Namespaces;
use crate::pattern::Names;

/// Shards of the table: so many that threads seldom meet, and that a shard which grows is soon done with it.
const SHARDS: usize = 256;
/// Counters that tell the epochs of topics forgotten and made anew from the ones before. The more there
/// are, the less often a topic that is forgotten takes the epoch of another with it to which nothing was published.
const GENERATIONS: usize = 64 * 1024;
/// The map gives back what it does not need when more topics than this were forgotten, and many for each that is left.
const FORGOTTEN_MIN: usize = 1024;
/// Shards of the deadlines.
const DEADLINES: usize = 16;
/// Topics that are looked at because they are due before others have their turn.
const DUE_SLICE: usize = 128;
/// A topic that was due is not looked at again sooner: what could not go then is still on its way to somebody.
const DUE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Calls that evict from one namespace at least before it is looked which one takes most.
const CHOICE_MIN: usize = 16;
/// Names of a listing after which others have their turn.
const LIST_SLICE: usize = 64;

/// All topics, by name.
#[derive(Debug)]
pub struct TopicTable {
    topics: DashMap<Hashed, Arc<Topic>, Passed>,
    /// Generations of names, by the topics' hashes; changed and used for epochs under the lock of a topic's
    /// shard.
    generations: Box<[AtomicU32]>,
    /// Topics forgotten since the map last gave back what it did not need.
    forgotten: AtomicUsize,
    /// Hashes names for the table. Nothing that is made with its keys is ever told.
    hasher: RandomState,
    /// Makes epochs.
    epochs: RandomState,
    /// The names in order. Invariant: holds the names of exactly the topics in `topics`, as it is changed under
    /// its shards' locks.
    index: Index,
    namespaces: Namespaces,
    budget: Arc<Budget>,
    /// How many topics there may be.
    limit: AtomicUsize,
    count: AtomicUsize,
    workers: usize,
    permits: Arc<TopicPermits>,
    /// Topics by when something of them can outlive its time.
    deadlines: [Agenda<Topic>; DEADLINES],
    /// Parts of the budget, by namespace.
    parts: Box<[Arc<Budget>]>,
    /// The topics that keep something, by namespace.
    recency: Box<[Recency]>,
    /// The namespace that history is taken from.
    giver: AtomicUsize,
    /// How many calls have taken from it since it was chosen. Threads may overwrite each other's: it is a matter of
    /// proportion.
    taken: AtomicUsize,
}

/// The answer that no topic of that name is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// Where the topic will stand if it is the next one made: nothing was published to it.
    pub position: Position,
}

/// Who a topic is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Maker<'a> {
    Publisher,
    /// Somebody who subscribes, by name if they have one.
    Subscriber(Option<&'a Arc<str>>),
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct TopicPage {
    pub(crate) topics: Vec<Arc<Topic>>,
    /// The last name of the page, where there may be more behind it.
    pub(crate) cursor: Option<TopicName>,
}

fn generation_of(hash: u64) -> usize {
    (hash >> 32) as usize % GENERATIONS
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
        Self {
            topics: DashMap::with_capacity_and_hasher_and_shard_amount(0, Passed::default(), SHARDS),
            generations: (0..GENERATIONS).map(|_| AtomicU32::new(0)).collect(),
            forgotten: AtomicUsize::new(0),
            hasher: RandomState::new(),
            epochs: RandomState::new(),
            index: Index::default(),
            parts: namespaces.iter().map(|_| budget.part()).collect(),
            recency: namespaces.iter().map(|_| Recency::new()).collect(),
            giver: AtomicUsize::new(0),
            taken: AtomicUsize::new(usize::MAX),
            namespaces,
            budget,
            limit: AtomicUsize::new(limit),
            count: AtomicUsize::new(0),
            workers,
            // A quarter is left to those who publish.
            permits: TopicPermits::new(limit_per_user, limit - limit / 4),
            deadlines: std::array::from_fn(|_| Agenda::new(|topic: &Topic| &topic.ledger.deadline)),
        }
    }

    fn generation(&self, hash: u64) -> &AtomicU32 {
        &self.generations[generation_of(hash)]
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
        let asked: &dyn Named = &(hash, name);
        // The guard ends with this line: it is never held over a second look-up.
        let found = self.topics.get(asked).map(|topic| Arc::clone(&topic));
        found.ok_or_else(|| self.generation(hash).load(Ordering::Acquire))
    }

    /// The topic of that name, made if there is none.
    ///
    /// # Errors
    /// [`TopicLimit`]: there are as many topics as there may be, in all or of this user.
    pub(crate) fn get_or_create(
        &self,
        name: &TopicRef<'_>,
        maker: Maker<'_>,
    ) -> Result<Arc<Topic>, TopicLimit> {
        let hash = self.hasher.hash_one(name.as_str());
        if let Ok(topic) = self.find_hashed(hash, name.as_str()) {
            return Ok(topic);
        }
        if self.count.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed) {
            return Err(TopicLimit::Table);
        }
        let permit = match maker {
            Maker::Publisher => None,
            Maker::Subscriber(user) => Some(self.permits.acquire(user)?),
        };
        let namespace = Arc::clone(self.namespaces.get(name.namespace()));
        let name = name.to_name();
        let place = match self.topics.entry(Hashed { hash, name: name.clone() }) {
            Entry::Occupied(there) => return Ok(Arc::clone(there.get())),
            Entry::Vacant(place) => place,
        };
        // Under the lock, or it could be the epoch of one that was made and forgotten meanwhile.
        let epoch = self.epoch(name.as_str(), self.generation(hash).load(Ordering::Acquire));
        let topic = Topic::new(
            name.clone(),
            Arc::clone(&namespace),
            epoch,
            self.workers,
            &self.parts[namespace.index],
        );
        if let Some(permit) = permit {
            topic.ledger.permit.put(permit);
        }
        let guard = place.insert(Arc::clone(&topic));
        self.index.insert(index_hash(hash), name);
        drop(guard);
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
        let asked: &dyn Named = &(hash, topic.name.as_str());
        let forgotten = self.topics.remove_if(asked, |_, there| {
            let is_it = Arc::ptr_eq(there, topic);
            if is_it {
                if was_used {
                    // Its positions are never given again.
                    self.generation(hash).fetch_add(1, Ordering::AcqRel);
                }
                self.index.remove(index_hash(hash), &topic.name);
            }
            is_it
        });
        if forgotten.is_none() {
            return;
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        topic.namespace.figures.topics_changed(-1);
        topic.ledger.permit.clear();
        self.recency_of(topic).leave(topic);
        // Shard by shard, and no more often than there is much to give back.
        if self.forgotten.fetch_add(1, Ordering::Relaxed) > FORGOTTEN_MIN.max(4 * self.len()) {
            self.forgotten.store(0, Ordering::Relaxed);
            self.topics.shrink_to_fit();
        }
    }

    /// Tells the workers of what was appended to a topic, and keeps within the budget.
    pub(crate) fn appended(&self, topic: &Arc<Topic>, mailboxes: &Mailboxes) {
        topic.wake(mailboxes);
        if self.budget.is_over() {
            topic.evict_extras();
        }
        self.published(topic);
    }

    /// Whether another publication may be kept.
    pub(crate) fn has_capacity(&self) -> bool {
        if self.budget.is_exhausted() {
            self.enforce_budget();
        }
        !self.budget.is_exhausted()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets how many topics there may be from now on, and how many of one user's. Those that are there stay.
    pub(crate) fn set_limits(&self, limit: usize, limit_per_user: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.permits.set_limits(limit_per_user, limit - limit / 4);
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
    pub(crate) async fn list(&self, names: &[Names], after: Option<&str>, limit: usize) -> TopicPage {
        let mut page = TopicPage::default();
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
        topic.ledger.permit.clear();
        self.recency_of(topic).enter(topic);
        self.file_by(topic, topic.ledger.due());
        self.enforce_budget();
    }

    /// A subscription of the topic has ended.
    pub(crate) fn unsubscribed(&self, topic: &Arc<Topic>) {
        if topic.subscriptions() == 0 {
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
        if topic.expire(now) {
            self.forget(topic);
            return;
        }
        self.recency_of(topic).leave(topic);
        self.file_by(topic, topic.ledger.due().max(now.plus(DUE_AGAIN_MIN)));
    }

    fn recency_of(&self, topic: &Topic) -> &Recency {
        &self.recency[topic.namespace.index]
    }

    /// Evicts history until the budget is kept, or as much as one call may. Costs a load while the budget is kept.
    /// Returns whether there is more to do.
    pub(crate) fn enforce_budget(&self) -> bool {
        self.budget.is_over() && self.evict()
    }

    /// Evicts history of the namespace that takes most, from its least recently used topics: whoever publishes to one
    /// namespace takes nothing from another that takes less.
    fn evict(&self) -> bool {
        // To choose costs as much as there are namespaces, so as many calls share it.
        let taken = self.taken.load(Ordering::Relaxed);
        if taken >= self.parts.len().max(CHOICE_MIN) {
            return self.evict_in_order();
        }
        self.taken.store(taken + 1, Ordering::Relaxed);
        let evicted = self.recency[self.giver.load(Ordering::Relaxed)].evict(&self.budget);
        if evicted.is_dry {
            // Another one may have something, or has come to take more.
            self.taken.store(usize::MAX, Ordering::Relaxed);
        }
        evicted.has_more
    }

    /// As [`evict`](Self::evict), from the namespace that is chosen for it: of those that keep something the one that
    /// takes most. While nothing of that may go, because readers were promised it, nothing of the others goes either.
    fn evict_in_order(&self) -> bool {
        let mut in_order: SmallVec<[_; 8]> =
            self.parts.iter().enumerate().map(|(nth, part)| (Reverse(part.used()), nth)).collect();
        in_order.sort_unstable();
        self.taken.store(0, Ordering::Relaxed);
        for (_, namespace) in in_order {
            let evicted = self.recency[namespace].evict(&self.budget);
            if !evicted.is_dry {
                self.giver.store(namespace, Ordering::Relaxed);
                return evicted.has_more;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
