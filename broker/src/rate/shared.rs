//! Buckets that several connections share: those of an address, a token or a user.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::SharedBucket;
use super::kind::Kind;
use crate::address::AddressKey;
use crate::clock::Moment;

/// Locks among which the buckets are divided.
const SHARDS: usize = 32;
/// Buckets behind one lock, but for those that somebody has in hand, who are bounded as connections and requests are.
const KEPT_MAX: usize = 1024;
/// Buckets behind one lock below which it is not worth looking for those that are full.
const SWEPT_MIN: usize = 64;

/// Whose buckets they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Ip(AddressKey),
    Token(NonZeroU64),
    User(Arc<str>),
}

/// The buckets of one key, by kind.
pub(crate) type Buckets = [SharedBucket; Kind::ALL.len()];

/// When all of them are full.
fn full_at(buckets: &Buckets) -> u64 {
    buckets.iter().map(SharedBucket::full_at).max().unwrap_or_default()
}

/// All buckets that are shared. Whoever has some in hand keeps them here; others go when they are full, and where there are
/// too many the fullest go earlier: whoever has waited longest loses least.
#[derive(Debug)]
pub(crate) struct SharedBuckets {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Key, Arc<Buckets>>,
    /// So many have to be there before the full ones are looked for (again).
    swept_at: usize,
}

impl Default for SharedBuckets {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl SharedBuckets {
    /// The buckets of that key, and how many of others were given up for them.
    pub(crate) fn of(&self, key: Key, now: Moment) -> (Arc<Buckets>, usize) {
        let shard = &self.shards[self.hasher.hash_one(&key) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buckets) = shard.buckets.get(&key) {
            return (Arc::clone(buckets), 0);
        }
        let given_up = shard.make_room(now);
        let buckets = Arc::<Buckets>::default();
        shard.buckets.insert(key, Arc::clone(&buckets));
        (buckets, given_up)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().expect("nobody failed").buckets.len()).sum()
    }
}

impl Shard {
    /// Makes room for one more; returns how many were given up before they were full.
    fn make_room(&mut self, now: Moment) -> usize {
        let Self { buckets, swept_at } = self;
        if buckets.len() < (*swept_at).max(SWEPT_MIN) {
            return 0;
        }
        let is_in_hand = |buckets: &Arc<Buckets>| Arc::strong_count(buckets) > 1;
        buckets.retain(|_, buckets| is_in_hand(buckets) || full_at(buckets) > now.as_ns());
        let mut idle: Vec<u64> = buckets
            .values()
            .filter(|&buckets| !is_in_hand(buckets))
            .map(|buckets| full_at(buckets))
            .collect();
        let mut given_up = 0;
        if idle.len() >= KEPT_MAX {
            // A quarter at once, or whoever comes next would pay for it again.
            let (_, &mut last, _) = idle.select_nth_unstable(KEPT_MAX / 4);
            let before = buckets.len();
            buckets.retain(|_, buckets| is_in_hand(buckets) || full_at(buckets) > last);
            given_up = before - buckets.len();
        }
        // Each look is paid for by those that came since.
        *swept_at = buckets.len() + SWEPT_MIN.max(buckets.len() / 4);
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::config::Rate;

    fn address(n: u32) -> Key {
        Key::Ip(AddressKey::of(std::net::Ipv4Addr::from(n).into()))
    }

    #[test]
    fn whoever_asks_again_finds_the_same_bucket() {
        let (all, now) = (SharedBuckets::default(), Moment::from_ns(0));
        let rate: Rate = "1/h".parse().expect("a rate");
        let take = |key| all.of(key, now).0[Kind::Publishes as usize].take(now, &rate).is_ok();
        assert!(take(address(1)) && !take(address(1)) && take(address(2)));
        assert!(
            take(Key::User("1".into())) && take(Key::Token(NonZeroU64::MIN)) && !take(Key::User("1".into()))
        );
    }

    #[test]
    fn what_is_full_again_is_forgotten_and_what_somebody_has_in_hand_is_not() {
        let all = SharedBuckets::default();
        let rate: Rate = "1/s".parse().expect("a rate");
        let (held, _) = all.of(address(0), Moment::from_ns(0));
        for n in 1..100_000 {
            let now = Moment::from_ns(u64::from(n) * 1_000_000_000);
            let (buckets, given_up) = all.of(address(n), now);
            buckets[0].take(now, &rate).expect("it is full");
            assert_eq!(given_up, 0);
        }
        assert!(all.len() <= SHARDS * SWEPT_MIN * 2, "{}", all.len());
        assert!(Arc::ptr_eq(&held, &all.of(address(0), Moment::from_ns(0)).0));
    }

    #[test]
    fn however_many_addresses_come_there_are_so_many_buckets_and_the_fullest_go_first() {
        let (all, now) = (SharedBuckets::default(), Moment::from_ns(0));
        let rate: Rate = "10/h burst 10".parse().expect("a rate");
        let empty = |key| {
            let (buckets, given_up) = all.of(key, now);
            while buckets[0].take(now, &rate).is_ok() {}
            given_up
        };
        empty(address(0));
        let mut given_up = 0;
        for n in 1..200_000 {
            let (buckets, more) = all.of(address(n), now);
            buckets[0].take(now, &rate).expect("it is full");
            given_up += more;
        }
        assert!(all.len() <= SHARDS * (KEPT_MAX + KEPT_MAX / 4), "{}", all.len());
        assert!(given_up > 100_000);
        assert!(
            all.of(address(0), now).0[0].take(now, &rate).is_err(),
            "who has used it up gains nothing by the others"
        );
    }
}
