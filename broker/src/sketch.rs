//! What is most of a stream, in memory that has a bound: SpaceSaving (Metwally, Agrawal, El Abbadi, 2005). Pure.
//!
//! Of a stream of weight `W` in all a sketch of `k` counters has every key whose weight is more than `W / k`, and says of each key how much
//! it is at least and at most: the two are never further apart than `W / k`.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A key and its weight, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counter<K> {
    pub(crate) key: K,
    /// Its weight at most.
    pub(crate) count: f64,
    /// How much of that may be others', which were forgotten for it.
    pub(crate) error: f64,
}

/// The heaviest keys of a stream. Invariant: `places` says where in `counters` each key is.
#[derive(Debug, Clone)]
pub(crate) struct SpaceSaving<K> {
    counters: Vec<Counter<K>>,
    places: HashMap<K, usize>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash> SpaceSaving<K> {
    /// A sketch with so many counters, of which each is made when it is needed.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { counters: Vec::new(), places: HashMap::new(), capacity }
    }

    /// Adds weight to a key, which is made only where it is a new one. Costs a look-up, and for a new key of many a look at all counters.
    pub(crate) fn add<Q>(&mut self, key: &Q, weight: f64, make: impl FnOnce() -> K)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(&place) = self.places.get(key) {
            self.counters[place].count += weight;
            return;
        }
        let key = make();
        if self.counters.len() < self.capacity {
            self.places.insert(key.clone(), self.counters.len());
            self.counters.push(Counter { key, count: weight, error: 0.0 });
            return;
        }
        let order = |(_, one): &(usize, &Counter<K>), (_, other): &(usize, &Counter<K>)| {
            one.count.total_cmp(&other.count)
        };
        let Some((place, least)) = self.counters.iter().enumerate().min_by(order) else { return };
        let error = least.count;
        self.places.remove::<K>(&least.key);
        self.places.insert(key.clone(), place);
        self.counters[place] = Counter { key, count: error + weight, error };
    }

    /// Multiplies all weights, and forgets what is less than `least` then.
    pub(crate) fn scale(&mut self, factor: f64, least: f64) {
        for counter in &mut self.counters {
            counter.count *= factor;
            counter.error *= factor;
        }
        if self.counters.iter().any(|counter| counter.count < least) {
            self.counters.retain(|counter| counter.count >= least);
            self.places =
                self.counters.iter().enumerate().map(|(place, it)| (it.key.clone(), place)).collect();
        }
    }

    /// What is known, in no order.
    pub(crate) fn counters(&self) -> &[Counter<K>] {
        &self.counters
    }

    /// The weight at most of a key that is not in here.
    pub(crate) fn unseen(&self) -> f64 {
        let is_full = self.counters.len() >= self.capacity;
        let least = self.counters.iter().map(|counter| counter.count).min_by(f64::total_cmp);
        least.filter(|_| is_full).unwrap_or(0.0)
    }
}

/// What several sketches of parts of a stream say of the whole, the heaviest first: those of which it is sure come before those that may be.
pub(crate) fn merge<K: Clone + Eq + Hash>(sketches: &[SpaceSaving<K>]) -> Vec<Counter<K>> {
    let unseen: f64 = sketches.iter().map(SpaceSaving::unseen).sum();
    let mut merged = HashMap::<K, (f64, f64)>::new();
    for sketch in sketches {
        let here = sketch.unseen();
        for Counter { key, count, error } in sketch.counters() {
            // Of each other sketch it may have what that has forgotten.
            let (counts, errors) = merged.entry(key.clone()).or_insert((unseen, unseen));
            *counts += count - here;
            *errors += error - here;
        }
    }
    let counter = |(key, (count, error))| Counter { key, count, error };
    let mut merged: Vec<_> = merged.into_iter().map(counter).collect();
    let least = |counter: &Counter<K>| counter.count - counter.error;
    merged.sort_by(|one, other| least(other).total_cmp(&least(one)).then(other.count.total_cmp(&one.count)));
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn sketch(capacity: usize, stream: &[(u8, u8)]) -> SpaceSaving<u8> {
        let mut sketch = SpaceSaving::new(capacity);
        for &(key, weight) in stream {
            sketch.add(&key, weight.into(), || key);
        }
        sketch
    }

    /// What each key weighs.
    fn truth(stream: &[(u8, u8)]) -> BTreeMap<u8, f64> {
        let mut truth = BTreeMap::new();
        for &(key, weight) in stream {
            *truth.entry(key).or_default() += f64::from(weight);
        }
        truth
    }

    fn stream() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((0..40u8, 1..20u8), 0..400)
    }

    proptest! {
        #[test]
        fn every_weight_is_within_its_bounds_and_nothing_heavy_is_missing(
            stream in stream(), capacity in 1..20usize,
        ) {
            let (sketch, truth) = (sketch(capacity, &stream), truth(&stream));
            let total: f64 = truth.values().sum();
            let bound = total / capacity as f64 + 1e-6;
            prop_assert!(sketch.counters().len() <= capacity);
            for Counter { key, count, error } in sketch.counters() {
                let weight = truth[key];
                prop_assert!(count - error <= weight && weight <= *count, "{count} - {error} for {weight}");
                prop_assert!(*error <= bound, "{error} of {bound}");
            }
            for (key, weight) in &truth {
                let is_in = sketch.counters().iter().any(|counter| counter.key == *key);
                prop_assert!(is_in || *weight <= sketch.unseen(), "{key} with {weight} is missing");
                prop_assert!(is_in || *weight <= bound);
            }
        }

        #[test]
        fn merged_sketches_say_of_the_whole_what_each_says_of_its_part(
            streams in prop::collection::vec(stream(), 1..4), capacity in 1..20usize,
        ) {
            let sketches: Vec<_> = streams.iter().map(|stream| sketch(capacity, stream)).collect();
            let truth = truth(&streams.concat());
            let merged = merge(&sketches);
            for Counter { key, count, error } in &merged {
                let weight = truth[key];
                prop_assert!(count - error <= weight + 1e-6 && weight <= count + 1e-6, "{count} - {error} for {weight}");
            }
            prop_assert!(merged.is_sorted_by(|one, other| one.count - one.error >= other.count - other.error));
        }
    }

    #[test]
    fn what_has_become_little_is_forgotten_and_its_counter_is_free() {
        let mut sketch = sketch(2, &[(1, 100), (2, 1)]);
        sketch.scale(0.5, 1.0);
        assert_eq!(sketch.counters(), [Counter { key: 1, count: 50.0, error: 0.0 }]);
        sketch.add(&3, 7.0, || 3);
        sketch.add(&1, 1.0, || unreachable!("it is there"));
        let counts: Vec<_> = sketch.counters().iter().map(|it| (it.key, it.count, it.error)).collect();
        assert_eq!(counts, [(1, 51.0, 0.0), (3, 7.0, 0.0)]);
    }
}
