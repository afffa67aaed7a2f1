//! Which message ids were published lately: what makes a retry safe. Pure but for the random keys.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use fanfare_protocol::Offset;

use crate::clock::Uptime;

/// What an entry costs, in bytes, with the tables' slack.
pub const ENTRY_BYTES: usize = 96;

/// 128 bits of keyed hash stand for an id: two ids of one topic meet by chance once in 2^64 topics'
/// windows, and nobody who does not know the process's keys can make them meet.
type IdHash = u128;

static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);

fn hash(id: &str) -> IdHash {
    u128::from(KEYS.0.hash_one(id)) << 64 | u128::from(KEYS.1.hash_one(id))
}

/// The message ids of a topic's latest publications, bounded by count and age.
#[derive(Debug, Default)]
pub struct Duplicates {
    offsets: HashMap<IdHash, Offset>,
    /// Invariant: holds exactly the keys of `offsets`, oldest first, with the time each was added.
    order: VecDeque<(IdHash, Uptime)>,
}

impl Duplicates {
    /// The offset under which `id` was published within the window.
    pub fn find(&self, id: &str) -> Option<Offset> {
        if self.offsets.is_empty() {
            return None;
        }
        self.offsets.get(&hash(id)).copied()
    }

    /// Remembers an id that [`find`](Self::find) does not know; the oldest makes room for it.
    pub fn insert(&mut self, id: &str, offset: Offset, now: Uptime, count: usize) {
        if count == 0 {
            return;
        }
        while self.order.len() >= count {
            self.forget_oldest();
        }
        let id = hash(id);
        self.offsets.insert(id, offset);
        self.order.push_back((id, now));
    }

    /// Forgets what is older than `window`.
    pub fn expire(&mut self, now: Uptime, window: Duration) {
        while self.order.front().is_some_and(|(_, added)| now.since(*added) >= window) {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Forgets the oldest `count` ids.
    pub fn forget(&mut self, count: usize) {
        for _ in 0..count {
            self.forget_oldest();
        }
    }

    /// When the oldest id was added, if any is remembered.
    pub fn oldest(&self) -> Option<Uptime> {
        self.order.front().map(|(_, added)| *added)
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((id, _)) = self.order.pop_front() {
            self.offsets.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_within_count_and_window() {
        let mut ids = Duplicates::default();
        for n in 1..=4u64 {
            ids.insert(&format!("id{n}"), Offset::new(n), Uptime::from_ms(n * 10), 3);
        }
        assert_eq!(ids.find("id1"), None);
        assert_eq!(ids.find("id2"), Some(Offset::new(2)));
        ids.expire(Uptime::from_ms(30), Duration::from_millis(10));
        assert_eq!(ids.find("id2"), None);
        assert_eq!(ids.find("id4"), Some(Offset::new(4)));
        ids.expire(Uptime::from_ms(50), Duration::from_millis(10));
        assert_eq!(ids.len(), 0);
    }
}
