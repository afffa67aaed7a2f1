//! A topic: its ring, its position, and which workers have subscribers of it.
//! [hot; life of a publication: steps 2 to 4]

mod accounts;
mod agenda;
pub mod duplicates;
pub mod figures;
mod hashed;
pub(crate) mod index;
mod interest;
mod ledger;
pub mod publication;
mod recency;
pub mod ring;
pub mod table;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_protocol::{Epoch, Offset, Position, TopicName};
use smallvec::SmallVec;

use crate::budget::{Budget, Charge};
use crate::clock::{Uptime, unix_ms};
use crate::namespaces::Namespace;
use crate::worker::handle::{WorkerHandle, Workers};
use duplicates::{Duplicates, IdHash};
use interest::Interest;
use ledger::Ledger;
use publication::{Publication, Unpositioned};
use ring::{Bounds, Cursor, Lagged, Ring, Seq};

/// A ring keeps at least so many publications for subscribers that are a little behind, even where a
/// namespace keeps less for history or nothing.
const LIVE_COUNT_MIN: usize = 2048;
/// And so many bytes.
const LIVE_BYTES_MIN: usize = 1024 * 1024;
/// What is kept beyond the history goes when it is so old.
const LIVE: Duration = Duration::from_secs(5);
/// What workers have yet to read stays beyond all that, up to so many publications.
const CAP_COUNT: usize = 16 * LIVE_COUNT_MIN;
/// And so many bytes.
const CAP_BYTES: usize = 16 * LIVE_BYTES_MIN;
/// Most publications that are dropped at once while the topic's lock is held.
const EVICTED_MAX: usize = 1024;
/// Publications looked at before the lock is given up for a moment.
const LOOKED_AT_MAX: usize = 256;

/// A named, ordered stream of publications.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its namespace, which says what it keeps.
    pub namespace: Arc<Namespace>,
    /// Which workers want to hear of publications.
    interests: SmallVec<[Interest; 4]>,
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

#[derive(Debug)]
struct State {
    epoch: Epoch,
    ring: Ring<Arc<Publication>>,
    duplicates: Duplicates,
    /// For the ring's own table and the message ids.
    charge: Charge,
    /// When something was last published.
    published_at: Uptime,
    /// Publications that the namespace's figures count of it.
    counted: u32,
    /// And their bytes.
    counted_bytes: usize,
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

/// Where a topic stands: its newest publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// As clients know it.
    pub position: Position,
    /// Its index in the ring.
    pub seq: Seq,
}

/// Where a subscription is to begin.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// With the newest so many publications.
    History(u64),
    /// After this position.
    Since(Position),
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    /// The head at that moment.
    pub head: Head,
    /// The first publication to deliver.
    pub from: Cursor,
    /// What became of the position asked for.
    pub resume: Option<Resume>,
}

/// What a topic can replay to somebody who asks to continue from a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Everything after the position.
    Whole,
    /// So many are missed, none of which can be had in full; unknown when the epoch changed.
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
        // For a request it is when it was whole, a moment ago: that spares the hot path a look at the clock.
        let now = Uptime::of(content.received.into_std());
        let keep = self.namespace.retention.message_ids();
        let id = content.message_id.as_deref().map(IdHash::of);
        // Made before the lock is taken, and what leaves the ring is freed after it is released.
        let mut publication =
            Arc::new(Publication::new(self.name.clone(), Offset::ZERO, unix_ms(), content, &self.budget));
        let evicted;
        let accepted = {
            let mut state = self.lock();
            if state.is_retired {
                drop(state);
                let publication = Arc::into_inner(publication).expect("nobody else has seen it");
                return Err((Retired, Box::new(publication.content)));
            }
            if let Some(id) = id {
                state.duplicates.expire(now, keep);
                if let Some(offset) = state.duplicates.find(id, now, keep) {
                    state.recharge();
                    let position = Position { epoch: state.epoch, offset };
                    return Ok(Accepted { position, is_duplicate: true });
                }
            }
            let offset = state.ring.head_offset().next();
            Arc::get_mut(&mut publication).expect("nobody else has seen it").offset = offset;
            if let Some(id) = id {
                self.namespace.note_ids_evicted(state.duplicates.insert(id, offset, now, keep));
            }
            evicted = state.append(publication, now, self);
            self.note_kept(&mut state);
            Accepted { position: Position { epoch: state.epoch, offset }, is_duplicate: false }
        };
        drop(evicted);
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        Ok(accepted)
    }

    /// Tells every worker that has subscribers of this topic, once until it looks. Called after each
    /// publication appended.
    pub(crate) fn wake(self: &Arc<Self>, workers: &Workers) {
        for (worker, interest) in workers.iter().zip(&self.interests) {
            if interest.tell() {
                worker.wake(Arc::clone(self));
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
    pub(crate) fn mark_dirty(self: &Arc<Self>, worker: usize, handle: &WorkerHandle) {
        if self.interests[worker].mark_dirty() {
            handle.wake(Arc::clone(self));
        }
    }

    /// Registers a subscription of that worker, and says where it begins.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again.
    pub(crate) fn subscribe(&self, worker: usize, start: Start) -> Result<Began, Retired> {
        let now = Uptime::now();
        let mut state = self.lock();
        if state.is_retired {
            return Err(Retired);
        }
        self.interests[worker].subscribe(state.ring.head());
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        self.end_history_in_time(&mut state, now);
        let head = state.head();
        let (from, resume) = match start {
            Start::History(count) => (state.ring.newest(count), None),
            Start::Since(since) => state.resume(since),
        };
        Ok(Began { head, from, resume })
    }

    /// Ends a subscription of that worker.
    pub(crate) fn unsubscribe(&self, worker: usize) {
        // First, so that whoever sees nobody subscribe sees until when somebody did.
        self.used_at.store(Uptime::now().as_ms(), Ordering::Relaxed);
        self.interests[worker].unsubscribe();
    }

    /// How many subscriptions it has, over all workers.
    pub fn subscriptions(&self) -> usize {
        self.interests.iter().map(|interest| interest.subscriptions() as usize).sum()
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
    /// [`Lagged`] when it is no longer kept.
    pub(crate) fn read(
        &self,
        from: Seq,
        count: usize,
        bytes: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Result<Head, Lagged> {
        let state = self.lock();
        let mut total = 0;
        for publication in state.ring.since(from)?.take(count) {
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
        if now.since(state.published_at) >= self.namespace.retention.history_ttl {
            state.ring.end_history();
        }
    }

    /// What the ring keeps, as the namespace bounds it. While somebody is behind it is as much as may be, as
    /// long as it is not too old: a reader whose socket was full for a moment in a burst finds all of it.
    fn bounds(&self, is_awaited: bool) -> Bounds {
        let retention = &self.namespace.retention;
        let (live_count, live_bytes) =
            if is_awaited { (CAP_COUNT, CAP_BYTES) } else { (LIVE_COUNT_MIN, LIVE_BYTES_MIN) };
        Bounds {
            history_count: retention.history_count,
            history_bytes: retention.history_bytes,
            live_count,
            live_bytes,
            live_for: LIVE,
            cap_count: CAP_COUNT,
            cap_bytes: CAP_BYTES,
        }
    }

    /// Whether some subscriber is behind.
    fn is_awaited(&self) -> bool {
        self.interests.iter().any(Interest::is_awaited)
    }

    /// Some of the worker's subscribers are behind from now on, or none is.
    pub(crate) fn await_more(&self, worker: usize, is_awaited: bool) {
        self.interests[worker].await_more(is_awaited);
    }

    /// The first index that some worker has yet to read; 0 where somebody has fallen behind since nobody
    /// `was_awaited`, which the bounds do not know.
    fn unread(&self, head: Seq, was_awaited: bool) -> Seq {
        let unread = self.interests.iter().filter_map(Interest::unread).min().unwrap_or_else(|| head.next());
        // In this order: who falls behind is counted before the worker says how far it has read.
        if !was_awaited && self.is_awaited() { Seq::ZERO } else { unread }
    }

    /// Forgets what has outlived its time, and says whether the topic itself has. A topic to which nothing was ever
    /// published goes soon: made anew it has the same position.
    pub(crate) fn expire(&self, now: Uptime) -> bool {
        let retention = &self.namespace.retention;
        let mut state = self.lock();
        if state.is_retired {
            return true;
        }
        self.end_history_in_time(&mut state, now);
        let head = state.ring.head();
        let is_awaited = self.is_awaited();
        let bounds = self.bounds(is_awaited);
        let evicted = state.ring.trim(now, &bounds, EVICTED_MAX, || self.unread(head, is_awaited));
        state.duplicates.expire(now, retention.message_ids());
        self.note_kept(&mut state);
        let is_retired = self.retire_in_time(&mut state, now);
        drop(state);
        // What has left the ring is freed after the lock is released.
        drop(evicted);
        is_retired
    }

    /// Retires the topic if it keeps nothing and nobody has used it for so long.
    fn retire_in_time(&self, state: &mut State, now: Uptime) -> bool {
        // Whoever subscribes now finds it retired, or is seen: both happens under the lock.
        if self.keeps() || self.subscriptions() > 0 {
            if !self.keeps() {
                self.ledger.set_due(None);
            }
            return false;
        }
        let is_new = state.ring.head() == Seq::ZERO;
        let idle_max = if is_new { LIVE } else { self.namespace.retention.position_ttl };
        let unused_until = self.used_at().max(state.published_at).plus(idle_max);
        self.ledger.set_due(Some(unused_until));
        state.is_retired = unused_until <= now;
        state.is_retired
    }

    /// When something of what is kept can next outlive its time.
    fn next_due(&self, state: &State) -> Option<Uptime> {
        let retention = &self.namespace.retention;
        let kept = (!state.ring.is_empty()).then(|| match state.ring.extra_since() {
            Some(appended) => appended.plus(LIVE),
            None => state.published_at.plus(retention.history_ttl.max(LIVE)),
        });
        let ids = state.duplicates.oldest().map(|added| added.plus(retention.duplicate_window));
        kept.into_iter().chain(ids).min()
    }

    /// Evicts the oldest of what is kept, a slice of it, unless some worker has yet to read it; where there is
    /// nothing of that kind and it is `urgent`, the oldest message ids. Returns whether anything went.
    pub(crate) fn evict(&self, urgent: bool) -> bool {
        let mut state = self.lock();
        if state.ring.is_empty() && urgent {
            let had_some = !state.duplicates.is_empty();
            let evicted = state.duplicates.evict_half(Uptime::now(), self.namespace.retention.message_ids());
            self.namespace.note_ids_evicted(evicted);
            self.note_kept(&mut state);
            return had_some;
        }
        if self.is_awaited() && !urgent {
            // Somebody was promised it.
            return false;
        }
        let head = state.ring.head();
        let read = self.unread(head, urgent).since(state.ring.oldest().next) as usize;
        let most = state.ring.len().div_ceil(2).min(read).min(EVICTED_MAX);
        let evicted = state.ring.evict(most);
        self.note_kept(&mut state);
        drop(state);
        !evicted.is_empty()
    }

    /// Drops what is kept for live readers alone, unless somebody wants it: a topic whose publishers pass the budget
    /// gives this before any history goes.
    pub(crate) fn evict_extras(&self) {
        if self.is_awaited() {
            return;
        }
        let mut state = self.lock();
        let bounds = Bounds { live_count: 0, live_bytes: 0, ..self.bounds(false) };
        let head = state.ring.head();
        let evicted = state.ring.trim(Uptime::now(), &bounds, EVICTED_MAX, || self.unread(head, false));
        self.note_kept(&mut state);
        drop(state);
        drop(evicted);
    }

    /// Whether it keeps anything that could be evicted.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps.load(Ordering::SeqCst)
    }

    /// Notes what is kept now, for the budget, the figures, eviction and the deadlines. Called under the lock after
    /// whatever changed it.
    fn note_kept(&self, state: &mut State) {
        state.recharge();
        let keeps = !state.ring.is_empty() || !state.duplicates.is_empty();
        // Written under the lock alone.
        if keeps != self.keeps.load(Ordering::Relaxed) {
            self.keeps.store(keeps, Ordering::SeqCst);
        }
        let (count, bytes) = (state.ring.len() as u32, state.ring.bytes());
        if (count, bytes) != (state.counted, state.counted_bytes) {
            let count_by = i64::from(count) - i64::from(state.counted);
            let bytes_by = bytes as i64 - state.counted_bytes as i64;
            (state.counted, state.counted_bytes) = (count, bytes);
            let who = std::ptr::from_ref(self).addr() >> 7;
            self.namespace.figures.kept_changed(who, count_by, bytes_by);
        }
        self.ledger.set_due(self.next_due(state));
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

    /// Appends a positioned publication: the topic's part, whichever engine gave the position.
    fn append(&mut self, publication: Arc<Publication>, now: Uptime, topic: &Topic) -> Vec<Arc<Publication>> {
        let size = Publication::size_of(&publication.content);
        let (offset, head) = (publication.offset, self.ring.head().next());
        topic.end_history_in_time(self, now);
        self.published_at = now;
        let is_awaited = topic.is_awaited();
        self.ring.push((publication, offset, size), now, &topic.bounds(is_awaited), || {
            topic.unread(head, is_awaited)
        })
    }

    /// Charges what the tables take now.
    fn recharge(&self) {
        let bytes = self.ring.table_bytes() + self.duplicates.heap_bytes();
        if bytes != self.charge.bytes() {
            self.charge.set(bytes);
        }
    }
}
