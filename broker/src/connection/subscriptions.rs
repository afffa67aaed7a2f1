//! What one connection subscribes to, and how far each subscription is. Pure.
//!
//! Invariant: only this file changes a pace, so that `behind` is how many subscriptions are behind.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use fanfare_protocol::{OnLag, TopicName};
use slab::Slab;

use crate::topic::Topic;
use crate::topic::ring::{Cursor, Seq};

/// With more subscriptions than this they are found by name in a map.
const SEARCHED_MAX: usize = 8;

/// One connection's interest in one topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: Arc<Topic>,
    /// Whether the connection's own publications come back.
    pub(crate) echo: bool,
    /// What becomes of it where it falls behind what the topic keeps.
    pub(crate) on_lag: OnLag,
    /// Invariant: changed by [`Subscriptions`] alone, which counts those that are behind.
    pub(crate) pace: Pace,
    /// Whether it has come from another worker and has not caught up since.
    /// Invariant: changed by [`Subscriptions`] alone; as long its topic counts it among those that move.
    is_arriving: bool,
    /// The first publication that is news: those before are a replay of the past, and tell nothing of latency.
    pub(crate) live_from: Seq,
}

/// How a subscription gets its publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// From the ring, at its own pace, from there on.
    Behind(Cursor),
    /// With its group in every round; the slot is its place among the group's members.
    InStep { slot: usize },
}

impl Subscription {
    fn end_arrival(&mut self) {
        if std::mem::take(&mut self.is_arriving) {
            self.topic.end_move();
        }
    }

    /// Whether what it gets next was published before it began.
    pub(super) fn is_replaying(&self) -> bool {
        self.behind().is_some_and(|from| from.next < self.live_from)
    }

    /// The cursor from which it goes on at its own pace, if it does.
    pub(crate) fn behind(&self) -> Option<Cursor> {
        match self.pace {
            Pace::Behind(from) => Some(from),
            Pace::InStep { .. } => None,
        }
    }
}

/// The key of the first, which lies with the connection.
const FIRST: usize = 0;

/// All subscriptions of a connection, each under a key that stays.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Most connections have one, and need no more memory for it.
    first: Option<Subscription>,
    others: Option<Box<Others>>,
    /// Invariant: the subscriptions that are behind, counted where a pace changes.
    behind: u32,
    /// The key of the one that was [served](Self::serve) last.
    served: u32,
}

/// The subscriptions of a connection that has had more than one at a time.
#[derive(Debug, Default)]
struct Others {
    /// Each under the key before its own.
    by_key: Slab<Subscription>,
    /// Invariant: where it is there it has the key of every subscription.
    by_name: Option<HashMap<TopicName, usize>>,
}

impl Subscriptions {
    /// The key of the subscription to a topic of that name.
    pub(crate) fn find(&self, topic: &str) -> Option<usize> {
        match self.others.as_ref().and_then(|others| others.by_name.as_ref()) {
            Some(by_name) => by_name.get(topic).copied(),
            None => self.iter().find(|(_, s)| s.topic.name.as_str() == topic).map(|(key, _)| key),
        }
    }

    /// Adds one to a topic to which there is none yet, behind; returns its key.
    pub(crate) fn insert(
        &mut self,
        topic: Arc<Topic>,
        echo: bool,
        on_lag: OnLag,
        from: Cursor,
        live_from: Seq,
    ) -> usize {
        let name = topic.name.clone();
        let pace = Pace::Behind(from);
        let subscription = Subscription { topic, echo, on_lag, pace, is_arriving: false, live_from };
        let key = if self.first.is_none() {
            self.first = Some(subscription);
            FIRST
        } else {
            self.others.get_or_insert_default().by_key.insert(subscription) + 1
        };
        self.behind += 1;
        let is_searched = self.len() <= SEARCHED_MAX;
        let by_name = self.others.as_mut().and_then(|others| others.by_name.as_mut());
        if let Some(by_name) = by_name {
            by_name.insert(name, key);
        } else if !is_searched {
            let all = self.iter().map(|(key, s)| (s.topic.name.clone(), key)).collect();
            self.others.get_or_insert_default().by_name = Some(all);
        }
        key
    }

    /// The one with that key has come from another worker: its topic counts it among those that move until it has caught up.
    pub(crate) fn begin_arrival(&mut self, key: usize) {
        self[key].is_arriving = true;
    }

    /// Those that have come from another worker have had their time to catch up.
    pub(crate) fn end_arrivals(&mut self) {
        if self.behind > 0 {
            let others = self.others.iter_mut().flat_map(|others| others.by_key.iter_mut());
            let others = others.map(|(_, subscription)| subscription);
            self.first.iter_mut().chain(others).for_each(Subscription::end_arrival);
        }
    }

    /// Takes out the one with that key, which there must be.
    pub(crate) fn remove(&mut self, key: usize) -> Subscription {
        let others = self.others.as_deref_mut();
        let subscription = match key.checked_sub(1) {
            None => self.first.take(),
            Some(key) => others.and_then(|others| others.by_key.try_remove(key)),
        };
        let mut subscription = subscription.expect("a subscription of that key");
        subscription.end_arrival();
        self.behind -= u32::from(subscription.behind().is_some());
        if let Some(others) = &mut self.others {
            if let Some(by_name) = &mut others.by_name {
                by_name.remove(&subscription.topic.name);
            }
            if others.by_key.is_empty() {
                self.others = None;
            }
        }
        subscription
    }

    /// Puts a subscription in step, or in another slot.
    pub(crate) fn put_in_step(&mut self, key: usize, slot: usize) {
        self.pace(key, Pace::InStep { slot });
    }

    /// Puts a subscription behind: it goes on at its own pace, from there on.
    pub(crate) fn put_behind(&mut self, key: usize, from: Cursor) {
        self.pace(key, Pace::Behind(from));
    }

    fn pace(&mut self, key: usize, pace: Pace) {
        let subscription = &mut self[key];
        if matches!(pace, Pace::InStep { .. }) {
            subscription.end_arrival();
        }
        let was_behind = subscription.behind().is_some();
        subscription.pace = pace;
        let is_behind = subscription.behind().is_some();
        self.behind += u32::from(is_behind);
        self.behind -= u32::from(was_behind);
    }

    /// Sets whether its connection's own publications come back from now on.
    pub(crate) fn set_echo(&mut self, key: usize, echo: bool) {
        self[key].echo = echo;
    }

    /// Sets what becomes of a subscription from now on where it falls behind what the topic keeps.
    pub(crate) fn set_on_lag(&mut self, key: usize, on_lag: OnLag) {
        self[key].on_lag = on_lag;
    }

    /// The count of those that are behind.
    pub(crate) fn behind(&self) -> usize {
        self.behind as usize
    }

    /// The keys of those that are behind, beginning after the one that was served last: they take turns, or a busy
    /// topic would keep the others from ever being read.
    pub(crate) fn in_turn(&self) -> Vec<usize> {
        let behind = self.iter().filter(|(_, subscription)| subscription.behind().is_some());
        let mut keys: Vec<usize> = behind.map(|(key, _)| key).collect();
        let first = keys.partition_point(|&key| key <= self.served as usize);
        keys.rotate_left(first);
        keys
    }

    /// Gives its turn to the subscription with that key.
    pub(crate) fn serve(&mut self, key: usize) {
        self.served = key as u32;
    }

    /// The keys of all, in a list of their own: whoever goes through it may remove them.
    pub(crate) fn keys(&self) -> Vec<usize> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Subscription)> {
        let others = self.others.iter().flat_map(|others| others.by_key.iter());
        self.first.iter().map(|first| (FIRST, first)).chain(others.map(|(key, other)| (key + 1, other)))
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.by_key.len())
    }
}

impl Index<usize> for Subscriptions {
    type Output = Subscription;

    fn index(&self, key: usize) -> &Subscription {
        let subscription = match key.checked_sub(1) {
            None => self.first.as_ref(),
            Some(key) => self.others.as_ref().and_then(|others| others.by_key.get(key)),
        };
        subscription.expect("a subscription of that key")
    }
}

impl IndexMut<usize> for Subscriptions {
    fn index_mut(&mut self, key: usize) -> &mut Subscription {
        let subscription = match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(key) => self.others.as_mut().and_then(|others| others.by_key.get_mut(key)),
        };
        subscription.expect("a subscription of that key")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use fanfare_protocol::{Epoch, Offset};
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::namespaces::Namespaces;

    fn name(nth: usize) -> String {
        format!("t{nth}")
    }

    /// As many as the tests take, for making them takes longer than the tests.
    static TOPICS: LazyLock<Vec<Arc<Topic>>> = LazyLock::new(|| {
        let (namespaces, budget) = (Namespaces::new(&Default::default()), Budget::new(usize::MAX));
        let topic = |nth| {
            let name: TopicName = name(nth).parse().expect("a topic name");
            let namespace = Arc::clone(namespaces.get(name.namespace()));
            Topic::new(name, namespace, Epoch::from_number(1), 0, &budget)
        };
        (0..2 * SEARCHED_MAX).map(topic).collect()
    });

    fn at(seq: u64) -> Cursor {
        Cursor { next: Seq::new(seq), after: Offset::new(seq) }
    }

    fn insert(subscriptions: &mut Subscriptions, nth: usize) -> usize {
        subscriptions.insert(Arc::clone(&TOPICS[nth]), true, OnLag::Gap, at(1), Seq::new(1))
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(usize),
        Remove(usize),
        PutInStep(usize, usize),
        PutBehind(usize, u64),
        Change(usize, bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        let nth = 0..2 * SEARCHED_MAX;
        prop_oneof![
            4 => nth.clone().prop_map(Op::Insert),
            2 => nth.clone().prop_map(Op::Remove),
            2 => (nth.clone(), 0..9usize).prop_map(|(nth, slot)| Op::PutInStep(nth, slot)),
            2 => (nth.clone(), 1..9u64).prop_map(|(nth, seq)| Op::PutBehind(nth, seq)),
            1 => (nth, any::<bool>()).prop_map(|(nth, echo)| Op::Change(nth, echo)),
        ]
    }

    proptest! {
        /// The model has the key, the pace and the echo of each, by its topic's number.
        #[test]
        fn each_is_found_by_its_name_where_it_was_put_and_those_behind_are_counted(
            ops in prop::collection::vec(op(), 0..80),
        ) {
            let (mut subscriptions, mut model) = (Subscriptions::default(), BTreeMap::new());
            for op in ops {
                match op {
                    Op::Insert(nth) if !model.contains_key(&nth) => {
                        let key = insert(&mut subscriptions, nth);
                        model.insert(nth, (key, Pace::Behind(at(1)), true));
                    }
                    Op::Remove(nth) => {
                        if let Some((key, pace, _)) = model.remove(&nth) {
                            let removed = subscriptions.remove(key);
                            prop_assert_eq!(removed.topic.name.as_str(), name(nth));
                            prop_assert_eq!(removed.pace, pace);
                        }
                    }
                    Op::PutInStep(nth, slot) => {
                        if let Some((key, pace, _)) = model.get_mut(&nth) {
                            subscriptions.put_in_step(*key, slot);
                            *pace = Pace::InStep { slot };
                        }
                    }
                    Op::PutBehind(nth, seq) => {
                        if let Some((key, pace, _)) = model.get_mut(&nth) {
                            subscriptions.put_behind(*key, at(seq));
                            *pace = Pace::Behind(at(seq));
                        }
                    }
                    Op::Change(nth, new) => {
                        if let Some((key, _, echo)) = model.get_mut(&nth) {
                            subscriptions.set_echo(*key, new);
                            *echo = new;
                        }
                    }
                    Op::Insert(_) => {}
                }
                prop_assert_eq!(subscriptions.len(), model.len());
                let is_behind = |(_, pace, _): &&(usize, Pace, bool)| matches!(pace, Pace::Behind(_));
                prop_assert_eq!(subscriptions.behind(), model.values().filter(is_behind).count());
                for nth in 0..2 * SEARCHED_MAX {
                    let found = subscriptions.find(&name(nth)).map(|key| {
                        let subscription = &subscriptions[key];
                        (key, subscription.pace, subscription.echo)
                    });
                    prop_assert_eq!(found, model.get(&nth).copied());
                }
                let mut behind: Vec<_> = model.values().filter(is_behind).map(|(key, ..)| *key).collect();
                let mut in_turn = subscriptions.in_turn();
                behind.sort_unstable();
                in_turn.sort_unstable();
                prop_assert_eq!(in_turn, behind, "each that is behind has a turn");
            }
        }
    }

    #[test]
    fn nobody_who_is_behind_is_served_twice_before_all_others_are_once() {
        let mut subscriptions = Subscriptions::default();
        let keys: Vec<_> = (0..5).map(|nth| insert(&mut subscriptions, nth)).collect();
        subscriptions.put_in_step(keys[2], 0);
        let mut served = Vec::new();
        for _ in 0..8 {
            let next = subscriptions.in_turn()[0];
            subscriptions.serve(next);
            served.push(next);
        }
        for round in served.chunks(4) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [keys[0], keys[1], keys[3], keys[4]]);
        }
    }

    #[test]
    fn without_subscriptions_there_is_nothing_that_takes_memory() {
        let mut subscriptions = Subscriptions::default();
        let keys: Vec<_> = (0..2 * SEARCHED_MAX).map(|nth| insert(&mut subscriptions, nth)).collect();
        let by_name =
            |all: &Subscriptions| all.others.as_ref().is_some_and(|others| others.by_name.is_some());
        assert!(by_name(&subscriptions), "so many are found by a map");
        for key in keys {
            subscriptions.remove(key);
        }
        assert!(subscriptions.others.is_none());
    }
}
