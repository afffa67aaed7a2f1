//! The topic table: shards of topics by name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use fanfare_protocol::{TopicName, TopicRef};

use super::Topic;
use crate::budget::Budget;
use crate::clock::Uptime;
use crate::namespaces::Namespaces;

/// Shards of the table. Each is swept on its own, so a sweep never holds more than a slice.
const SHARDS: usize = 16;
/// Topics that one eviction passes over because a worker has yet to deliver what they keep.
const EVICTION_TRIES: usize = 64;

/// All topics, by name.
#[derive(Debug)]
pub struct TopicTable {
    shards: Box<[Shard]>,
    hasher: RandomState,
    namespaces: Namespaces,
    budget: Arc<Budget>,
    /// How many topics there may be.
    limit: usize,
    count: AtomicUsize,
    workers: usize,
    /// Topics that keep something, least recently used first; an entry may lag behind its topic's use,
    /// which is mended when it comes up. Holds a topic at most once.
    recency: Mutex<BinaryHeap<Reverse<Used>>>,
}

type Shard = DashMap<TopicName, Arc<Topic>>;

/// There are as many topics as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker has as many topics as it may")]
pub struct TooManyTopics;

impl TopicTable {
    pub(crate) fn new(namespaces: Namespaces, budget: Arc<Budget>, limit: usize, workers: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| DashMap::with_shard_amount(2)).collect(),
            hasher: RandomState::new(),
            namespaces,
            budget,
            limit,
            count: AtomicUsize::new(0),
            workers,
            recency: Mutex::default(),
        }
    }

    fn shard(&self, name: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    /// The topic of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        // The guard ends with this line: it is never held over a second look-up.
        self.shard(name).get(name).map(|topic| Arc::clone(&topic))
    }

    /// The topic of that name, made if there is none.
    ///
    /// # Errors
    /// [`TooManyTopics`].
    pub fn get_or_create(&self, name: &TopicRef<'_>) -> Result<Arc<Topic>, TooManyTopics> {
        if let Some(topic) = self.get(name.as_str()) {
            return Ok(topic);
        }
        if self.count.load(Ordering::Relaxed) >= self.limit {
            return Err(TooManyTopics);
        }
        let namespace = Arc::clone(self.namespaces.get(name.namespace()));
        let topic = Topic::new(name.to_name(), namespace, self.workers, &self.budget);
        match self.shard(name.as_str()).entry(topic.name.clone()) {
            Entry::Occupied(there) => Ok(Arc::clone(there.get())),
            Entry::Vacant(place) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Ok(Arc::clone(&place.insert(topic)))
            }
        }
    }

    /// Takes a retired topic out, so that the next look-up makes it anew.
    pub(crate) fn forget(&self, topic: &Arc<Topic>) {
        let removed =
            self.shard(topic.name.as_str()).remove_if(topic.name.as_str(), |_, t| Arc::ptr_eq(t, topic));
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
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

    /// The topics whose names come after `after`, begin with `prefix` and are visible, in order, at most
    /// `limit`. Looks at every topic, and lets others have their turn after each shard.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        is_visible: impl Fn(&str) -> bool,
    ) -> Vec<Arc<Topic>> {
        // No more than a page is held at a time.
        let mut smallest = BTreeMap::new();
        for shard in &self.shards {
            for entry in shard.iter() {
                let name = entry.key().as_str();
                if name.starts_with(prefix) && after.is_none_or(|after| name > after) && is_visible(name) {
                    smallest.insert(entry.key().clone(), Arc::clone(entry.value()));
                    if smallest.len() > limit {
                        smallest.pop_last();
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        smallest.into_values().collect()
    }

    fn snapshot(&self, shard: &Shard) -> Vec<Arc<Topic>> {
        shard.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Sweeps one shard: what has outlived its time goes. Returns how many publications and bytes of it
    /// are kept, by namespace, and how many topics.
    pub(crate) fn sweep(&self, shard: usize) -> Vec<ShardFigures> {
        let now = Uptime::now();
        let is_crowded = self.len() > self.limit / 2;
        let mut figures = vec![ShardFigures::default(); self.namespaces.count()];
        for topic in self.snapshot(&self.shards[shard]) {
            if topic.expire(now, is_crowded) {
                self.forget(&topic);
                continue;
            }
            let (publications, bytes) = topic.kept();
            let of = &mut figures[topic.namespace.index];
            of.topics += 1;
            of.publications += publications;
            of.bytes += bytes;
        }
        figures
    }

    /// How many shards there are to sweep.
    pub(crate) const fn shards() -> usize {
        SHARDS
    }

    /// Counts a topic that keeps something among those that eviction may choose from.
    pub(crate) fn note_retained(&self, topic: &Arc<Topic>) {
        if topic.enter_recency() {
            self.recency().push(Reverse(Used { at: topic.used_at(), topic: Arc::clone(topic) }));
        }
    }

    /// Evicts history of the least recently used topics until the budget is kept or nothing more may
    /// go. Where even twice the budget is used, message ids go too: better a retry that is taken for new
    /// than no publication at all. Costs nothing while the budget is kept.
    pub(crate) fn enforce_budget(&self) {
        let mut passed_over = Vec::new();
        while self.budget.is_over() && passed_over.len() < EVICTION_TRIES {
            let Some(Reverse(Used { at, topic })) = self.recency().pop() else { break };
            let used_at = topic.used_at();
            if used_at > at {
                // Used since it was queued: not the least recently used after all.
                self.recency().push(Reverse(Used { at: used_at, topic }));
            } else if !topic.evict(self.budget.is_exhausted()) {
                // Nothing may go of it now: others have their turn first.
                passed_over.push(Reverse(Used { at: Uptime::now(), topic }));
            } else if topic.stays_in_recency() {
                self.recency().push(Reverse(Used { at, topic }));
            }
        }
        if !passed_over.is_empty() {
            self.recency().extend(passed_over);
        }
    }

    /// Drops topics that keep nothing any more from those that eviction may choose from.
    pub(crate) fn tidy_recency(&self) {
        self.recency().retain(|Reverse(used)| used.topic.stays_in_recency());
    }

    fn recency(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Used>>> {
        self.recency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A topic that keeps something, by when it was last known to be used.
#[derive(Debug)]
struct Used {
    at: Uptime,
    topic: Arc<Topic>,
}

impl Ord for Used {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Used {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Used {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Used {}

/// What a shard keeps of one namespace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShardFigures {
    pub(crate) topics: usize,
    pub(crate) publications: usize,
    pub(crate) bytes: usize,
}
