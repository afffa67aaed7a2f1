//! Which message ids were published lately: what makes a retry safe. Pure but for the random keys.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use fanfare_protocol::Offset;
use hashbrown::HashTable;

use crate::clock::Uptime;
use crate::namespaces::config::Keep;

/// A generation takes at most this share of the bytes that a topic's ids may have: so much is evicted at a
/// time, and a look-up that finds nothing looks into so many, and those of before they were so large.
const GENERATIONS: usize = 16;
/// A generation is closed after this share of the window, however few ids it has: when the window has
/// passed it goes whole, and no earlier.
const SPAN: u32 = 4;
/// Ids of the first generation: most topics have none, and most that have some have few.
const FIRST_IDS: usize = 3;

static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);

/// 128 bits of keyed hash stand for an id: two ids of one topic meet by chance once in 2^64 topics'
/// windows, and nobody who does not know the process's keys can make them meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdHash(u64, u64);

impl IdHash {
    /// What stands for `id` in this process. Meant to be made before the topic is locked.
    pub fn of(id: &str) -> Self {
        Self(KEYS.0.hash_one(id), KEYS.1.hash_one(id))
    }
}

/// The message ids of a topic's latest publications, bounded by age and memory.
///
/// They stand in generations: each has a table that never grows, so that no publisher waits until a large
/// one is rearranged, and goes as a whole. A new one is twice as large as one that was full early.
#[derive(Debug, Default)]
pub struct Duplicates {
    /// Oldest first; none is empty.
    generations: VecDeque<Generation>,
    /// What they have together, see [`Generation::heap_bytes`].
    bytes: usize,
}

#[derive(Debug)]
struct Generation {
    /// The ids, in the order in which they were added.
    ids: Vec<Remembered>,
    /// Where in `ids` each stands, by its hash.
    places: HashTable<u32>,
    /// When the first was added.
    began: Uptime,
    /// The offset of the first.
    first: Offset,
}

/// 24 bytes: time and offset are kept as distances from the generation's first.
#[derive(Debug)]
struct Remembered {
    id: IdHash,
    after_ms: u32,
    offset: u32,
}

impl Duplicates {
    /// The offset under which `id` was published within the window.
    pub fn find(&self, id: IdHash, now: Uptime, keep: Keep) -> Option<Offset> {
        // A retry mostly comes soon.
        let mut found = self.generations.iter().rev().filter_map(|generation| {
            let remembered = generation.find(id)?;
            (now.since(generation.added_at(remembered)) < keep.window).then(|| generation.offset(remembered))
        });
        found.next()
    }

    /// Remembers an id that [`find`](Self::find) does not know. Returns how many others went for it before
    /// their time.
    pub fn insert(&mut self, id: IdHash, offset: Offset, now: Uptime, keep: Keep) -> u64 {
        if keep.window.is_zero() {
            return 0;
        }
        let span = keep.window / SPAN;
        if self.generations.back_mut().is_some_and(|newest| newest.add(id, offset, now, span)) {
            return 0;
        }
        let mut generation = Generation::new(self.next_ids(keep), now, offset);
        let needs = generation.heap_bytes();
        self.close_newest();
        let mut evicted = 0;
        while !self.generations.is_empty() && self.bytes + needs > keep.bytes {
            evicted += self.evict_oldest(now, keep);
        }
        if needs <= keep.bytes {
            generation.add(id, offset, now, span);
            self.bytes += needs;
            self.generations.reserve_exact(1);
            self.generations.push_back(generation);
        }
        evicted
    }

    /// Forgets what is older than the window.
    pub fn expire(&mut self, now: Uptime, keep: Keep) {
        let before = self.generations.len();
        while self.generations.front().is_some_and(|oldest| now.since(oldest.newest_at()) >= keep.window) {
            self.drop_oldest();
        }
        if self.generations.len() < before {
            self.generations.shrink_to_fit();
        }
    }

    /// Forgets the older half, before its time. Returns how many ids that were.
    pub fn evict_half(&mut self, now: Uptime, keep: Keep) -> u64 {
        let half = self.generations.len().div_ceil(2);
        let evicted = (0..half).map(|_| self.evict_oldest(now, keep)).sum();
        self.generations.shrink_to_fit();
        evicted
    }

    /// When the youngest was added of those that go first, if any is remembered.
    pub fn oldest(&self) -> Option<Uptime> {
        self.generations.front().map(Generation::newest_at)
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }

    /// Bytes that it has on the heap, used or not.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// The capacity of the next generation, in ids.
    fn next_ids(&self, keep: Keep) -> usize {
        let Some(newest) = self.generations.back() else { return FIRST_IDS };
        let wanted = if newest.is_full() { 2 * newest.ids.len() } else { newest.ids.len() };
        // A table has a power of two of places, each with a place's number and a byte, of which seven eighths
        // can be used.
        let bytes_of_8 = 7 * size_of::<Remembered>() + 8 * (size_of::<u32>() + 1);
        let eights = (keep.bytes / GENERATIONS / bytes_of_8).clamp(1, 1 << 28);
        let eights = 1 << eights.ilog2();
        wanted.clamp(FIRST_IDS, 7 * eights)
    }

    /// Gives back the capacity that the newest generation will not use.
    fn close_newest(&mut self) {
        if let Some(newest) = self.generations.back_mut() {
            let before = newest.heap_bytes();
            newest.close();
            self.bytes = self.bytes - before + newest.heap_bytes();
        }
    }

    fn evict_oldest(&mut self, now: Uptime, keep: Keep) -> u64 {
        self.drop_oldest().map_or(0, |oldest| oldest.younger_than(now, keep.window))
    }

    fn drop_oldest(&mut self) -> Option<Generation> {
        let oldest = self.generations.pop_front()?;
        self.bytes -= oldest.heap_bytes();
        Some(oldest)
    }
}

impl Generation {
    fn new(ids: usize, began: Uptime, first: Offset) -> Self {
        let places = HashTable::with_capacity(ids);
        Self { ids: Vec::with_capacity(places.capacity()), places, began, first }
    }

    fn is_full(&self) -> bool {
        self.ids.len() == self.ids.capacity()
    }

    /// Adds an id if there is capacity for it and the generation has lasted no longer than `span`.
    fn add(&mut self, id: IdHash, offset: Offset, now: Uptime, span: Duration) -> bool {
        let age = now.since(self.began);
        let distance = offset.get().saturating_sub(self.first.get());
        let (Ok(after_ms), Ok(offset)) = (u32::try_from(age.as_millis()), u32::try_from(distance)) else {
            return false;
        };
        if self.is_full() || (age >= span && !self.ids.is_empty()) {
            return false;
        }
        let place = self.ids.len() as u32;
        self.ids.push(Remembered { id, after_ms, offset });
        let ids = &self.ids;
        self.places.insert_unique(id.0, place, |place| ids[*place as usize].id.0);
        true
    }

    fn find(&self, id: IdHash) -> Option<&Remembered> {
        let place = self.places.find(id.0, |place| self.ids[*place as usize].id == id)?;
        Some(&self.ids[*place as usize])
    }

    fn added_at(&self, remembered: &Remembered) -> Uptime {
        self.began.plus(Duration::from_millis(remembered.after_ms.into()))
    }

    fn newest_at(&self) -> Uptime {
        self.ids.last().map_or(self.began, |newest| self.added_at(newest))
    }

    fn offset(&self, remembered: &Remembered) -> Offset {
        Offset::new(self.first.get() + u64::from(remembered.offset))
    }

    fn younger_than(&self, now: Uptime, window: Duration) -> u64 {
        let outlived = self.ids.partition_point(|it| now.since(self.added_at(it)) >= window);
        (self.ids.len() - outlived) as u64
    }

    /// Gives back what three quarters or more of are not used.
    fn close(&mut self) {
        if self.ids.len() < self.ids.capacity() / 4 {
            self.ids.shrink_to_fit();
            let ids = &self.ids;
            self.places.shrink_to(ids.len(), |place| ids[*place as usize].id.0);
        }
    }

    /// What it has on the heap, itself included.
    fn heap_bytes(&self) -> usize {
        let ids = self.ids.capacity() * size_of::<Remembered>();
        size_of::<Self>() + ids + self.places.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);
    const DEFAULT: Keep = Keep { window: WINDOW, bytes: 64 << 20 };

    /// An id of its own for each number, without the cost of hashing.
    fn id(n: u64) -> IdHash {
        IdHash(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)
    }

    fn at(ms: u64) -> Uptime {
        Uptime::from_ms(ms)
    }

    #[test]
    fn ten_thousand_a_second_are_known_for_the_whole_window() {
        const COUNT: u64 = 2_400_000;
        const WITHIN: u64 = 1_200_000;
        let mut ids = Duplicates::default();
        let (mut most, mut before) = (0, 0);
        for n in 0..COUNT {
            let now = at(n / 10);
            ids.expire(now, DEFAULT);
            assert_eq!(ids.insert(id(n), Offset::new(n + 1), now, DEFAULT), 0, "nothing is evicted");
            most = most.max(ids.heap_bytes());
            assert!(ids.heap_bytes() < before + DEFAULT.bytes / 16, "{n}: too much at once");
            before = ids.heap_bytes();
        }
        let now = at((COUNT - 1) / 10);
        for n in (COUNT - WITHIN..COUNT).step_by(997) {
            assert_eq!(ids.find(id(n), now, DEFAULT), Some(Offset::new(n + 1)));
        }
        assert_eq!(ids.find(id(COUNT - WITHIN - 10), now, DEFAULT), None);
        assert!(most < 40 * WITHIN as usize, "{} bytes for each", most as f64 / WITHIN as f64);
        assert!(ids.generations.len() < 30, "{} generations", ids.generations.len());
    }

    #[test]
    fn what_a_burst_took_is_given_back_though_ids_keep_coming() {
        let mut ids = Duplicates::default();
        for n in 0..1000 {
            ids.insert(id(n), Offset::new(n), at(0), DEFAULT);
        }
        assert!(ids.heap_bytes() > 20_000);
        for n in 1..60 {
            let now = at(n * 6000);
            ids.expire(now, DEFAULT);
            ids.insert(id(1000 + n), Offset::new(1000 + n), now, DEFAULT);
        }
        assert!(ids.heap_bytes() < 2048, "{} bytes for 20 ids", ids.heap_bytes());
        ids.expire(at(600_000), DEFAULT);
        assert_eq!((ids.heap_bytes(), ids.is_empty()), (0, true));
    }

    #[test]
    fn none_are_remembered_where_there_is_no_window_or_no_room() {
        for keep in [Keep { window: Duration::ZERO, ..DEFAULT }, Keep { bytes: 0, ..DEFAULT }] {
            let mut ids = Duplicates::default();
            assert_eq!(ids.insert(id(1), Offset::new(1), at(0), keep), 0);
            assert!(ids.is_empty());
        }
    }

    #[test]
    fn distances_that_fit_no_number_begin_a_generation() {
        let keep = Keep { window: Duration::MAX, ..DEFAULT };
        let mut ids = Duplicates::default();
        let (far, late) = (1 << 40, at(1 << 50));
        ids.insert(id(1), Offset::new(1), at(0), keep);
        ids.insert(id(2), Offset::new(far), at(0), keep);
        ids.insert(id(3), Offset::new(far + 1), late, keep);
        let found = [1, 2, 3].map(|n| ids.find(id(n), late, keep));
        assert_eq!(found, [1, far, far + 1].map(|offset| Some(Offset::new(offset))));
    }

    #[derive(Debug, Clone)]
    enum Step {
        EvictHalf,
        Expire,
        Publish(u64),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::EvictHalf),
            5 => Just(Step::Expire),
            60 => (0..400u64).prop_map(Step::Publish),
            20 => (0..40u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn they_are_what_was_published_within_the_window_less_what_was_evicted(
            steps in prop::collection::vec(step(), 1..600),
            window in 0..400u64,
            bytes in prop_oneof![0..2_000usize, 0..40_000usize],
        ) {
            let keep = Keep { window: Duration::from_millis(window), bytes };
            let mut ids = Duplicates::default();
            let mut model: Vec<(u64, Offset, Uptime)> = Vec::new();
            let (mut now, mut offset) = (at(1000), Offset::ZERO);
            for step in steps {
                model.retain(|(.., added)| now.since(*added) < keep.window);
                let evicted = match step {
                    Step::EvictHalf => ids.evict_half(now, keep),
                    Step::Expire => { ids.expire(now, keep); 0 }
                    Step::Wait(ms) => { now = at(now.as_ms() + ms); 0 }
                    Step::Publish(n) => {
                        let known = model.iter().find(|(id, ..)| *id == n).map(|(_, offset, _)| *offset);
                        prop_assert_eq!(ids.find(id(n), now, keep), known);
                        if known.is_some() { continue }
                        offset = offset.next();
                        let evicted = ids.insert(id(n), offset, now, keep);
                        // Where there is not even room for a few there may be none for this one.
                        match ids.find(id(n), now, keep) {
                            Some(_) => model.push((n, offset, now)),
                            None => prop_assert!(keep.bytes < 512 || keep.window.is_zero()),
                        }
                        evicted
                    }
                };
                model.drain(..evicted as usize);
                prop_assert!(ids.heap_bytes() <= keep.bytes);
            }
        }
    }
}
