//! How many there are of each key at a time, such as connections of an address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks among which the counts are divided.
const SHARDS: usize = 32;

/// Counts by key. There is a count for each key of which one is there, and no other.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    hasher: RandomState,
    shards: [Mutex<HashMap<K, usize>>; SHARDS],
}

/// One that counts under its key while this is there.
#[derive(Debug)]
pub(crate) struct Counted<K: Hash + Eq> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl<K: Hash + Eq> Tally<K> {
    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, usize>> {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more of that key, if fewer than `max` are there.
    pub(crate) fn enter(self: &Arc<Self>, key: K, max: usize) -> Option<Counted<K>>
    where
        K: Clone,
    {
        let mut shard = self.shard(&key);
        match shard.entry(key.clone()) {
            Entry::Occupied(count) if *count.get() >= max => return None,
            Entry::Vacant(_) if max == 0 => return None,
            entry => *entry.or_default() += 1,
        }
        drop(shard);
        Some(Counted { tally: Arc::clone(self), key })
    }
}

impl<K: Hash + Eq> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut shard = self.tally.shard(&self.key);
        if let Some(count) = shard.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.key);
                let len = shard.len();
                if shard.capacity() > 64 && len * 8 < shard.capacity() {
                    shard.shrink_to(len * 2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_are_there_and_whoever_goes_makes_room() {
        let tally = Arc::<Tally<u32>>::default();
        let mut there: Vec<_> = (0..3).map(|_| tally.enter(7, 3).expect("there is room")).collect();
        assert!(tally.enter(7, 3).is_none() && tally.enter(7, 2).is_none());
        let other = tally.enter(8, 3).expect("another key");
        there.pop();
        there.push(tally.enter(7, 3).expect("there is room again"));
        assert!(tally.enter(7, 3).is_none());
        drop((there, other));
        assert!(tally.shards.iter().all(|shard| shard.lock().expect("nobody failed").is_empty()));
        assert!(tally.enter(7, 0).is_none());
        assert!(tally.shard(&7).is_empty(), "who was not let in left nothing behind");
    }

    #[test]
    fn a_crowd_that_is_gone_leaves_no_table_behind() {
        let tally = Arc::<Tally<u32>>::default();
        drop((0..100_000).map(|key| tally.enter(key, 1)).collect::<Vec<_>>());
        let capacity: usize =
            tally.shards.iter().map(|shard| shard.lock().expect("nobody failed").capacity()).sum();
        assert!(capacity <= SHARDS * 128, "{capacity}");
    }
}
