//! What a topic keeps, for how long, and what goes first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare_protocol::Offset;

use super::interest::Interest;
use super::ring::{Bounds, Seq};
use super::{State, Topic};
use crate::clock::Uptime;

/// Publications that a ring keeps at least for subscribers that are a little behind, even where a namespace
/// keeps less for history or nothing.
const LIVE_COUNT_MIN: usize = 2048;
/// And so many bytes.
const LIVE_BYTES_MIN: usize = 1024 * 1024;
/// The age at which goes what is kept beyond the history.
pub(super) const LIVE: Duration = Duration::from_secs(5);
/// Publications of a ring up to which stays what workers have yet to read.
const CAP_COUNT: usize = 16 * LIVE_COUNT_MIN;
/// And so many bytes.
const CAP_BYTES: usize = 16 * LIVE_BYTES_MIN;
/// Most publications that are dropped at once while the topic's lock is held.
pub(super) const EVICTED_MAX: usize = 1024;

impl Topic {
    /// What the ring keeps, as the namespace bounds it. While somebody is behind it is as much as may be, as
    /// long as it is not too old: a reader whose socket was full for a moment in a burst finds all of it.
    pub(super) fn bounds(&self, is_awaited: bool) -> Bounds {
        let retention = self.retention();
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

    /// Whether some subscriber is behind, or moves.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_moved() || self.interests.iter().any(Interest::is_awaited)
    }

    /// Sets whether some of the worker's subscribers are behind from now on.
    pub(crate) fn await_more(&self, worker: usize, is_awaited: bool) {
        self.interests[worker].await_more(is_awaited);
    }

    /// The first index that some worker has yet to read, or somebody has yet to get who moves; 0 where somebody has fallen
    /// behind since nobody `was_awaited`, which the bounds do not know. Called under the lock.
    pub(super) fn unread(&self, head: Seq, was_awaited: bool) -> Seq {
        let unread = self.interests.iter().filter_map(Interest::unread).min().unwrap_or_else(|| head.next());
        let unread = unread.min(Seq::new(self.moving_from.load(Ordering::Relaxed)));
        // In this order: who falls behind is counted before the worker says how far it has read.
        if !was_awaited && self.is_awaited() { Seq::ZERO } else { unread }
    }

    /// Forgets what has outlived its time, and says whether the topic itself has. A topic to which nothing was ever
    /// published goes soon: made anew it has the same position.
    pub(crate) fn expire(&self, now: Uptime) -> bool {
        let retention = self.retention();
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
        let is_new = state.ring.head_offset() == Offset::ZERO;
        let idle_max = if is_new { LIVE } else { self.retention().position_ttl };
        let unused_until = self.used_at().max(state.published_at).plus(idle_max);
        self.ledger.set_due(Some(unused_until));
        state.is_retired = unused_until <= now;
        state.is_retired
    }

    /// When something of what is kept can next outlive its time.
    fn next_due(&self, state: &State) -> Option<Uptime> {
        let retention = self.retention();
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
            let evicted = state.duplicates.evict_half(Uptime::now(), self.retention().message_ids());
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
    pub(super) fn note_kept(&self, state: &mut State) {
        state.recharge(self);
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
}
