//! A topic's bounded ring: the newest items, by index. Pure. [Life of a publication: step 3]
//!
//! Two numbers tell an item's place. Its *offset* is what clients see; whoever gives it decides how far it is from
//! the one before. Its *index* ([`Seq`]) is the ring's own: dense, so that what lies between two indices can be
//! counted, and found by its place. Readers go by index.

use std::collections::VecDeque;
use std::time::Duration;

use fanfare_protocol::Offset;

use crate::clock::Uptime;

/// Most items that one push makes room for: whoever appends does not pay for a whole burst that came before.
const EVICTED_PER_PUSH: usize = 64;
/// Tables smaller than this are not worth shrinking.
const CAPACITY_MIN: usize = 16;

/// An item's index in its ring: 1 for the first, then without holes. It means nothing outside its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before the first item.
    pub const ZERO: Self = Self(0);

    /// The index with this number.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index `count` places on.
    #[must_use]
    pub const fn plus(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }

    /// How many indices lie between `earlier` and this one, `earlier` included; 0 where it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The index of the item that it wants next.
    pub next: Seq,
    /// The offset up to which it has everything, or was told what it missed.
    pub after: Offset,
}

/// What a ring keeps.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Items of the history. 0 keeps none.
    pub history_count: usize,
    /// Bytes of the history; the newest item is kept whatever its size.
    pub history_bytes: usize,
    /// Items kept, beyond the history, for readers that are a little behind.
    pub live_count: usize,
    /// Bytes of the items kept beyond the history for such readers.
    pub live_bytes: usize,
    /// How long an item beyond the history is kept.
    pub live_for: Duration,
    /// Items kept, beyond all that, while some reader has yet to look at them.
    pub cap_count: usize,
    /// Bytes of the items kept beyond all that.
    pub cap_bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    offset: Offset,
    size: usize,
    /// When it was appended.
    at: Uptime,
}

/// The newest items of a topic.
///
/// Elastic: what somebody [has yet to read](Self::push) stays beyond the ordinary bounds, up to the cap.
/// Memory grows with what is kept and is given back when most of it has gone.
#[derive(Debug)]
pub struct Ring<T> {
    /// Oldest first. Invariant: their offsets increase.
    entries: VecDeque<Entry<T>>,
    /// Invariant: the sum of the sizes in `entries`.
    bytes: usize,
    /// The index of the newest item ever appended.
    head: Seq,
    head_offset: Offset,
    /// The offset of the newest item that has gone.
    gone: Offset,
    /// The first index of the history. Invariant: at least the first one kept, at most the one after the head.
    history: Seq,
    /// Invariant: the sum of the sizes from `history` on.
    history_bytes: usize,
    /// Where offsets were left out, or the ring was broken off: most rings never see that.
    rare: Option<Box<Rare>>,
}

/// Where something was left out. Each break has an index of its own, with no item.
#[derive(Debug, Clone, Copy, Default)]
struct Rare {
    /// Invariant: no offset between this one and `gone` was left out.
    gone_dense_after: Offset,
    /// The newest break.
    broken_at: Seq,
    /// The newest one after which offsets count anew.
    anew_at: Seq,
}

/// A cursor points before the oldest item kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// Before the oldest item kept, or after the newest one when nothing is kept.
    pub oldest: Cursor,
    /// Before the newest item, likewise.
    pub newest: Cursor,
    /// What is known of what lies between the cursor and the oldest item.
    pub missed: Missed,
}

/// What is known of what a reader has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// As many items are missed as there are indices.
    Counted,
    /// Something was lost that nobody can count.
    Uncounted,
    /// Something was lost that nobody can count, and offsets count anew after it.
    Anew,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            head: Seq::ZERO,
            head_offset: Offset::ZERO,
            gone: Offset::ZERO,
            history: Seq::ZERO.next(),
            history_bytes: 0,
            rare: None,
        }
    }
}

impl<T> Ring<T> {
    /// Appends an item whose offset is above the head's, and gives back what no longer fits. Of what is from
    /// `unread` on nothing goes but by the cap; the newest item never does.
    pub fn push(
        &mut self,
        (item, offset, size): (T, Offset, usize),
        now: Uptime,
        bounds: &Bounds,
        unread: impl FnOnce() -> Seq,
    ) -> Vec<T> {
        debug_assert!(offset > self.head_offset, "offsets increase");
        self.head = self.head.next();
        self.head_offset = offset;
        self.grow();
        self.entries.push_back(Entry { item, offset, size, at: now });
        self.bytes += size;
        self.history_bytes += size;
        while self.history_len() > bounds.history_count
            || (self.history_len() > 1 && self.history_bytes > bounds.history_bytes)
        {
            self.history_bytes -= self.entries[self.place(self.history)].size;
            self.history = self.history.next();
        }
        self.trim(now, bounds, EVICTED_PER_PUSH, unread)
    }

    /// Takes out at most `most` items that are not kept any longer, oldest first.
    pub fn trim(
        &mut self,
        now: Uptime,
        bounds: &Bounds,
        most: usize,
        unread: impl FnOnce() -> Seq,
    ) -> Vec<T> {
        let mut evicted = Vec::new();
        if !self.is_oldest_over(now, bounds) {
            return evicted;
        }
        let unread = unread();
        while evicted.len() < most
            && self.is_oldest_over(now, bounds)
            && (self.first() < unread || self.is_over_cap(bounds))
        {
            evicted.extend(self.pop());
        }
        self.shrink();
        evicted
    }

    fn is_oldest_over(&self, now: Uptime, bounds: &Bounds) -> bool {
        let Some(oldest) = self.entries.front() else { return false };
        let is_extra = self.first() < self.history;
        let is_over_ordinary = now.since(oldest.at) >= bounds.live_for
            || self.entries.len() > bounds.live_count.max(bounds.history_count)
            || self.bytes > bounds.live_bytes.max(bounds.history_bytes);
        (is_extra && is_over_ordinary) || self.is_over_cap(bounds)
    }

    fn is_over_cap(&self, bounds: &Bounds) -> bool {
        self.entries.len() > 1
            && (self.entries.len() > bounds.cap_count.max(bounds.history_count)
                || self.bytes > bounds.cap_bytes.max(bounds.history_bytes))
    }

    /// Takes out at most `most` of the oldest items, whether or not they belong to the history.
    pub fn evict(&mut self, most: usize) -> Vec<T> {
        let mut evicted = Vec::new();
        while evicted.len() < most
            && let Some(item) = self.pop()
        {
            evicted.push(item);
        }
        self.shrink();
        evicted
    }

    /// Something was lost of which nobody knows how much, up to the offset `after`; where offsets count `anew`, that is one
    /// of the new ones. What is kept goes, and whoever wants what was before is [`Lagged`].
    pub fn break_off(&mut self, after: Offset, anew: bool) -> Vec<T> {
        let evicted = std::mem::take(&mut self.entries).into_iter().map(|entry| entry.item).collect();
        self.bytes = 0;
        self.head = self.head.next();
        (self.head_offset, self.gone) = (after, after);
        self.end_history();
        let rare = self.rare.get_or_insert_default();
        (rare.gone_dense_after, rare.broken_at) = (after, self.head);
        if anew {
            rare.anew_at = self.head;
        }
        evicted
    }

    /// Has what comes next follow that offset, where nothing was ever here.
    pub fn begin_after(&mut self, offset: Offset) {
        debug_assert_eq!(self.head, Seq::ZERO, "nothing was ever here");
        (self.head_offset, self.gone) = (offset, offset);
        if offset > Offset::ZERO {
            self.rare.get_or_insert_default().gone_dense_after = offset;
        }
    }

    /// What is known of what a reader has missed that wants this index next and cannot have it.
    fn missed(&self, next: Seq) -> Missed {
        match &self.rare {
            Some(rare) if next <= rare.anew_at => Missed::Anew,
            Some(rare) if next <= rare.broken_at => Missed::Uncounted,
            _ => Missed::Counted,
        }
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.first();
        let Entry { item, offset, size, .. } = self.entries.pop_front()?;
        self.bytes -= size;
        if self.history == first {
            self.history = first.next();
            self.history_bytes -= size;
        }
        if offset != self.gone.next() {
            self.rare.get_or_insert_default().gone_dense_after = Offset::new(offset.get() - 1);
        }
        self.gone = offset;
        Some(item)
    }

    /// Makes room for one more. By a quarter and not by half as many again or twice as many, for most rings are full all
    /// the time, and hold one more than they keep for a moment: so they would have twice the table they need.
    fn grow(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let quarter = len.checked_ilog2().map_or(0, |log| (1 << log) / 4);
            self.entries.reserve_exact(quarter.max(1));
        }
    }

    fn shrink(&mut self) {
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if len == 0 {
            self.entries = VecDeque::new();
        } else if capacity > CAPACITY_MIN && len < capacity / 4 {
            self.entries.shrink_to(2 * len);
        }
    }

    /// The history is over: what is kept is kept for live readers alone.
    pub fn end_history(&mut self) {
        self.history = self.head.next();
        self.history_bytes = 0;
    }

    /// The index of the newest item ever appended; 0 before the first.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The newest offset ever given; 0 before the first.
    pub fn head_offset(&self) -> Offset {
        self.head_offset
    }

    /// Where a reader stands that has everything.
    pub fn end(&self) -> Cursor {
        Cursor { next: self.head.next(), after: self.head_offset }
    }

    /// The oldest index kept, or the next to come when nothing is kept.
    fn first(&self) -> Seq {
        Seq(self.head.0 + 1 - self.entries.len() as u64)
    }

    fn place(&self, seq: Seq) -> usize {
        seq.since(self.first()) as usize
    }

    /// Where a reader stands that wants this index next, which is kept or the next to come.
    fn cursor(&self, next: Seq) -> Cursor {
        let after = match self.place(next).checked_sub(1) {
            None => self.gone,
            Some(before) => self.entries.get(before).map_or(self.head_offset, |entry| entry.offset),
        };
        Cursor { next, after }
    }

    /// Where a reader stands that has nothing of what is kept.
    pub fn oldest(&self) -> Cursor {
        self.cursor(self.first())
    }

    /// Where a reader stands that wants the whole history.
    pub fn history(&self) -> Cursor {
        self.cursor(self.history)
    }

    /// Where a reader stands that wants the newest `count` items of the history.
    pub fn newest(&self, count: u64) -> Cursor {
        self.cursor(self.history.max(Seq((self.head.0 + 1).saturating_sub(count))))
    }

    /// How many items the history has.
    fn history_len(&self) -> usize {
        self.head.next().since(self.history) as usize
    }

    /// Where a reader stands that has everything up to that offset; `None` where something after it has gone.
    pub fn after(&self, offset: Offset) -> Option<Cursor> {
        if offset < self.gone {
            return None;
        }
        if offset >= self.head_offset {
            return Some(self.end());
        }
        // Where there are no holes it lies as many places from the front as offsets.
        let guess = (offset.get() - self.gone.get()) as usize;
        let is_there = |place: usize| {
            place.checked_sub(1).is_none_or(|before| self.entries[before].offset <= offset)
                && self.entries.get(place).is_none_or(|entry| entry.offset > offset)
        };
        let place = match guess {
            guess if guess <= self.entries.len() && is_there(guess) => guess,
            _ => self.entries.partition_point(|entry| entry.offset <= offset),
        };
        Some(Cursor { next: self.first().plus(place), after: offset })
    }

    /// How many items were ever appended after that offset; `None` where offsets were left out among what has
    /// gone, so that nobody knows.
    pub fn count_after(&self, offset: Offset) -> Option<u64> {
        match self.after(offset) {
            Some(cursor) => Some(self.head.next().since(cursor.next)),
            None if self.rare.as_ref().is_none_or(|rare| offset >= rare.gone_dense_after) => {
                Some(self.gone.get() - offset.get() + self.entries.len() as u64)
            }
            None => None,
        }
    }

    /// The items from an index on.
    ///
    /// # Errors
    /// [`Lagged`] when it is no longer kept.
    pub fn since(&self, next: Seq) -> Result<impl DoubleEndedIterator<Item = &T>, Lagged> {
        if next < self.first() {
            let newest = self.cursor(self.first().max(self.head));
            return Err(Lagged { oldest: self.oldest(), newest, missed: self.missed(next) });
        }
        let skip = self.place(next).min(self.entries.len());
        Ok(self.entries.range(skip..).map(|entry| &entry.item))
    }

    /// When the oldest item beyond the history was appended: what goes next by its age.
    pub fn extra_since(&self) -> Option<Uptime> {
        self.entries.front().filter(|_| self.first() < self.history).map(|entry| entry.at)
    }

    /// How many items are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sizes of what is kept, together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the ring's own table takes.
    pub fn table_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<T>>()
    }
}

#[cfg(test)]
// Where it is, also for whoever takes in this file alone.
#[path = "ring/tests.rs"]
mod tests;
