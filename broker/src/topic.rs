//! A topic: its ring, its position, and which workers have subscribers of it.
//! [hot; life of a publication: steps 2 to 4]

pub mod duplicates;
pub mod publication;
pub mod ring;
pub mod table;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_protocol::{Epoch, Offset, Position, TopicName};

use crate::budget::{Budget, Charge};
use crate::clock::{Uptime, unix_ms};
use crate::namespaces::Namespace;
use crate::worker::handle::{WorkerHandle, Workers};
use duplicates::{Duplicates, IdHash};
use publication::{Publication, Unpositioned};
use ring::{Lagged, Ring};

/// A ring keeps at least so many publications for subscribers that are a little behind, even where a
/// namespace keeps less for history or nothing.
const LIVE_COUNT_MIN: usize = 2048;
/// And so many bytes.
const LIVE_BYTES_MIN: usize = 1024 * 1024;
/// What is kept beyond the history goes after so long.
const LIVE: Duration = Duration::from_secs(5);

/// A named, ordered stream of publications.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its namespace, which says what it keeps.
    pub namespace: Arc<Namespace>,
    /// Which workers want to hear of publications.
    interests: Box<[Interest]>,
    /// When it was last used, as an [`Uptime`] in milliseconds: what the budget evicts by.
    used_at: AtomicU64,
    /// Whether eviction knows of it.
    in_recency: AtomicBool,
    /// Whether it keeps anything that could be evicted.
    keeps: AtomicBool,
    /// Publications appended of which the workers have yet to be told.
    unwoken: AtomicU32,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

/// One worker's interest in a topic.
#[derive(Debug, Default)]
struct Interest {
    subscriptions: AtomicU32,
    /// Set when the worker has been told and has not looked yet. This is what bounds its inbox.
    dirty: AtomicBool,
    /// Set while the worker looks: it has yet to read what it was told of.
    reading: AtomicBool,
}

#[derive(Debug)]
struct State {
    epoch: Epoch,
    ring: Ring<Arc<Publication>>,
    duplicates: Duplicates,
    duplicates_charge: Charge,
    /// When something was last published.
    published_at: Uptime,
    /// The table has dropped the topic: whoever still holds it must look it up anew.
    is_retired: bool,
}

/// The topic was dropped from the table meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired;

/// A publication that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands.
    pub position: Position,
    /// Whether it was published before, under the same message id.
    pub is_duplicate: bool,
}

/// What a topic can replay to somebody who asks to continue from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Everything after the position, from this offset on.
    From(Offset),
    /// So many are missed, none of which can be had in full; unknown when the epoch changed.
    Missed(Option<u64>),
}

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        namespace: Arc<Namespace>,
        workers: usize,
        budget: &Arc<Budget>,
    ) -> Arc<Self> {
        let now = Uptime::now();
        Arc::new(Self {
            name,
            namespace,
            interests: (0..workers).map(|_| Interest::default()).collect(),
            used_at: AtomicU64::new(now.as_ms()),
            in_recency: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
            unwoken: AtomicU32::new(0),
            budget: Arc::clone(budget),
            state: Mutex::new(State {
                epoch: Epoch::from_number(rand::random()),
                ring: Ring::default(),
                duplicates: Duplicates::default(),
                duplicates_charge: budget.charge(0),
                published_at: now,
                is_retired: false,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if some did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the publication the next position and appends it, in one step under the topic's lock:
    /// what the memory engine does. Waits for nobody; the subscribers are yet to be [woken](Self::wake).
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again; the publication is given back.
    pub(crate) fn assign_and_append(
        &self,
        content: Unpositioned,
    ) -> Result<Accepted, (Retired, Box<Unpositioned>)> {
        let now = Uptime::now();
        let keep = self.namespace.retention.message_ids();
        let id = content.message_id.as_deref().map(IdHash::of);
        // What leaves the ring is freed after the lock is released.
        let evicted;
        let accepted = {
            let mut state = self.lock();
            if state.is_retired {
                return Err((Retired, Box::new(content)));
            }
            if let Some(id) = id {
                state.expire_duplicates(now, keep);
                if let Some(offset) = state.duplicates.find(id, now, keep) {
                    let position = Position { epoch: state.epoch, offset };
                    return Ok(Accepted { position, is_duplicate: true });
                }
            }
            let offset = state.ring.head().next();
            if let Some(id) = id {
                self.namespace.note_ids_evicted(state.remember(id, offset, now, keep));
            }
            self.unwoken.fetch_add(1, Ordering::SeqCst);
            self.keeps.store(true, Ordering::SeqCst);
            evicted = state.append(
                Publication::new(self.name.clone(), offset, unix_ms(), content, &self.budget),
                now,
                self,
            );
            Accepted { position: Position { epoch: state.epoch, offset }, is_duplicate: false }
        };
        drop(evicted);
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        Ok(accepted)
    }

    /// Tells every worker that has subscribers of this topic, once until it looks. Called once after each
    /// publication appended; until then nothing is evicted here.
    pub(crate) fn wake(self: &Arc<Self>, workers: &Workers) {
        for (worker, interest) in workers.iter().zip(&self.interests) {
            if interest.subscriptions.load(Ordering::Acquire) > 0
                && !interest.dirty.swap(true, Ordering::SeqCst)
            {
                worker.wake(Arc::clone(self));
            }
        }
        let before = self.unwoken.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "one wake for each append");
    }

    /// The worker is about to look: whatever is published from now on must wake it again.
    pub(crate) fn begin_reading(&self, worker: usize) {
        let interest = &self.interests[worker];
        interest.reading.store(true, Ordering::SeqCst);
        interest.dirty.store(false, Ordering::SeqCst);
    }

    /// The worker has looked.
    pub(crate) fn end_reading(&self, worker: usize) {
        self.interests[worker].reading.store(false, Ordering::SeqCst);
    }

    /// Whether the worker has been told of something and has not begun to read it.
    pub(crate) fn is_dirty(&self, worker: usize) -> bool {
        self.interests[worker].dirty.load(Ordering::SeqCst)
    }

    /// Has the worker look again, unless somebody has just told it to.
    pub(crate) fn mark_dirty(self: &Arc<Self>, worker: usize, handle: &WorkerHandle) {
        if !self.interests[worker].dirty.swap(true, Ordering::SeqCst) {
            handle.wake(Arc::clone(self));
        }
    }

    /// Registers a subscription of that worker, and returns the position after which it begins.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again.
    pub(crate) fn subscribe(&self, worker: usize) -> Result<Position, Retired> {
        let state = self.lock();
        if state.is_retired {
            return Err(Retired);
        }
        // Under the lock: a publication either comes before, and is in the position, or sees the count.
        self.interests[worker].subscriptions.fetch_add(1, Ordering::AcqRel);
        self.used_at.store(Uptime::now().as_ms(), Ordering::Relaxed);
        Ok(state.position())
    }

    /// Ends a subscription of that worker.
    pub(crate) fn unsubscribe(&self, worker: usize) {
        let before = self.interests[worker].subscriptions.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "every subscription ends once");
        self.used_at.store(Uptime::now().as_ms(), Ordering::Relaxed);
    }

    /// How many subscriptions it has, over all workers.
    pub fn subscriptions(&self) -> usize {
        self.interests.iter().map(|i| i.subscriptions.load(Ordering::Acquire) as usize).sum()
    }

    /// The epoch and the newest offset.
    pub fn position(&self) -> Position {
        self.lock().position()
    }

    /// The publications from offset `from` on: at most `count`, and no more once `bytes` are reached.
    /// Meant for delivery, so it also sees what is kept beyond the history.
    ///
    /// # Errors
    /// [`Lagged`] when `from` is no longer kept.
    pub(crate) fn read(
        &self,
        from: Offset,
        count: usize,
        bytes: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Result<Position, Lagged> {
        let state = self.lock();
        let mut total = 0;
        for publication in state.ring.since(from)?.take(count) {
            total += publication.content.payload.as_bytes().len();
            out.push(Arc::clone(publication));
            if total >= bytes {
                break;
            }
        }
        Ok(state.position())
    }

    /// The history: after `since` the oldest `limit` publications, without it the newest `limit`; at most
    /// `bytes` of payload together, from the same end.
    pub(crate) fn history(
        &self,
        since: Option<Position>,
        limit: usize,
        bytes: usize,
    ) -> (Position, Vec<Arc<Publication>>) {
        let state = self.lock();
        let position = state.position();
        let oldest = self.oldest_kept(&state);
        let from = match since {
            Some(since) if since.epoch == position.epoch && since.offset >= position.offset => {
                return (position, Vec::new());
            }
            Some(since) if since.epoch == position.epoch => oldest.max(since.offset.next()),
            Some(_) => oldest,
            None => oldest.max(Offset::new((position.offset.get() + 1).saturating_sub(limit as u64))),
        };
        let Ok(kept) = state.ring.since(from) else { return (position, Vec::new()) };
        let mut all: Vec<_> = kept.take(limit).map(Arc::clone).collect();
        let mut total = 0;
        let mut fits = |publication: &Arc<Publication>| {
            let first = total == 0;
            total += publication.content.payload.as_bytes().len().max(1);
            first || total <= bytes
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

    /// What can be replayed to somebody who has everything up to `since`, seen at `head`.
    pub(crate) fn resume(&self, since: Position, head: Position) -> Resume {
        if since.epoch != head.epoch || since.offset > head.offset {
            return Resume::Missed(None);
        }
        let next = since.offset.next();
        let state = self.lock();
        if since.offset == head.offset || next >= self.oldest_kept(&state) {
            Resume::From(next)
        } else {
            Resume::Missed(Some(head.offset.get() - since.offset.get()))
        }
    }

    /// From which offset on the newest `count` publications before `head` can be replayed.
    pub(crate) fn newest(&self, count: u64, head: Position) -> Offset {
        if count == 0 {
            return head.offset.next();
        }
        let state = self.lock();
        let wanted = Offset::new((head.offset.get() + 1).saturating_sub(count));
        wanted.max(self.oldest_kept(&state)).min(head.offset.next())
    }

    /// The oldest offset of the history, as the namespace bounds it: exact, though what is over its time
    /// is only swept now and then.
    fn oldest_kept(&self, state: &State) -> Offset {
        let retention = &self.namespace.retention;
        if state.published_at.elapsed() >= retention.history_ttl {
            return state.ring.head().next();
        }
        state.ring.oldest_within(retention.history_count, retention.history_bytes)
    }

    /// Forgets what has outlived its time; called now and then. Says whether the topic itself has. Where
    /// it is crowded, a topic to which nothing was ever published goes soon.
    pub(crate) fn expire(&self, now: Uptime, is_crowded: bool) -> bool {
        let retention = &self.namespace.retention;
        let is_idle = self.subscriptions() == 0;
        let mut evicted = Vec::new();
        let mut state = self.lock();
        let is_undelivered = self.is_undelivered();
        if now.since(state.published_at) >= LIVE && !is_undelivered {
            let oldest = self.oldest_kept(&state);
            while state.ring.oldest() < oldest {
                evicted.extend(state.ring.pop_oldest());
            }
        }
        state.expire_duplicates(now, retention.message_ids());
        let unused = now.since(self.used_at().max(state.published_at));
        let outlived = is_idle
            && state.ring.is_empty()
            && state.duplicates.is_empty()
            && (unused >= retention.position_ttl
                || (is_crowded && state.ring.head() == Offset::ZERO && unused >= LIVE));
        if outlived && self.subscriptions() == 0 {
            state.is_retired = true;
        }
        self.note_kept(&state);
        outlived && state.is_retired
    }

    /// Evicts the oldest half of what is kept, unless some worker has yet to deliver it; where there is
    /// nothing of that kind and it is `urgent`, of the message ids. Returns whether anything went.
    pub(crate) fn evict_half(&self, urgent: bool) -> bool {
        let mut evicted = Vec::new();
        let mut state = self.lock();
        if self.is_undelivered() {
            return false;
        }
        if state.ring.is_empty() && urgent {
            let had_some = !state.duplicates.is_empty();
            let evicted = state.duplicates.evict_half(Uptime::now(), self.namespace.retention.message_ids());
            self.namespace.note_ids_evicted(evicted);
            state.recharge();
            self.note_kept(&state);
            return had_some;
        }
        for _ in 0..state.ring.len().div_ceil(2) {
            evicted.extend(state.ring.pop_oldest());
        }
        self.note_kept(&state);
        drop(state);
        !evicted.is_empty()
    }

    /// Whether some worker has yet to read what was appended. Meant to be asked under the lock, which
    /// keeps anything from being appended meanwhile.
    fn is_undelivered(&self) -> bool {
        // In the order in which a publication passes through them, so that it is not overlooked on its way.
        self.unwoken.load(Ordering::SeqCst) > 0
            || self.interests.iter().any(|interest| {
                interest.dirty.load(Ordering::SeqCst) || interest.reading.load(Ordering::SeqCst)
            })
    }

    /// Says whether the topic is yet to be counted among those that keep something, and counts it.
    pub(crate) fn enter_recency(&self) -> bool {
        !self.in_recency.load(Ordering::SeqCst) && !self.in_recency.swap(true, Ordering::SeqCst)
    }

    /// Says whether the topic still belongs among those that keep something; no longer counts it if not.
    pub(crate) fn stays_in_recency(&self) -> bool {
        if self.keeps.load(Ordering::SeqCst) {
            return true;
        }
        self.in_recency.store(false, Ordering::SeqCst);
        // Something may have been appended just before: either that publisher counts it anew, or we do.
        self.keeps.load(Ordering::SeqCst) && !self.in_recency.swap(true, Ordering::SeqCst)
    }

    fn note_kept(&self, state: &State) {
        self.keeps.store(!state.ring.is_empty() || !state.duplicates.is_empty(), Ordering::SeqCst);
    }

    /// When it was last used.
    pub(crate) fn used_at(&self) -> Uptime {
        Uptime::from_ms(self.used_at.load(Ordering::Relaxed))
    }

    /// How many publications are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ring.len(), state.ring.bytes())
    }
}

impl State {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.ring.head() }
    }

    /// Appends a positioned publication: the topic's part, whichever engine gave the position.
    fn append(&mut self, publication: Publication, now: Uptime, topic: &Topic) -> Vec<Arc<Publication>> {
        let retention = &topic.namespace.retention;
        let size = Publication::size_of(&publication.content);
        self.published_at = now;
        self.ring.push(
            Arc::new(publication),
            size,
            retention.history_count.max(LIVE_COUNT_MIN),
            retention.history_bytes.max(LIVE_BYTES_MIN),
        )
    }

    /// Returns how many other ids went for this one before their time.
    fn remember(&mut self, id: IdHash, offset: Offset, now: Uptime, keep: duplicates::Keep) -> u64 {
        let evicted = self.duplicates.insert(id, offset, now, keep);
        self.recharge();
        evicted
    }

    fn expire_duplicates(&mut self, now: Uptime, keep: duplicates::Keep) {
        self.duplicates.expire(now, keep);
        self.recharge();
    }

    fn recharge(&self) {
        let bytes = self.duplicates.heap_bytes();
        if self.duplicates_charge.bytes() != bytes {
            self.duplicates_charge.set(bytes);
        }
    }
}
