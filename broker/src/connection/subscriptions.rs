//! What one connection subscribes to, and how far each subscription is. Pure.
//!
//! Invariant: only this file changes a place, so that `behind` is how many subscriptions are behind.

use std::collections::HashMap;
use std::ops::Index;
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
    pub(crate) on_lag: OnLag,
    pub(crate) place: Place,
    /// What is before is a replay of the past.
    pub(crate) live_from: Seq,
}

/// How a subscription gets its publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the ring, at its own pace, from there on.
    Behind(Cursor),
    /// With its group in every round; the slot is its place among the group's members.
    InStep { slot: usize },
}

impl Subscription {
    /// Where it goes on at its own pace, if it does.
    pub(crate) fn behind(&self) -> Option<Cursor> {
        match self.place {
            Place::Behind(from) => Some(from),
            Place::InStep { .. } => None,
        }
    }
}

/// All subscriptions of a connection, each under a key that stays.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_key: Slab<Subscription>,
    /// Invariant: where it is there it has the key of every subscription. Most connections have one or two, and
    /// need no map to find them.
    #[expect(clippy::box_collection, reason = "every connection would be 40 bytes larger")]
    by_name: Option<Box<HashMap<TopicName, usize>>>,
    /// Invariant: how many are behind.
    behind: u32,
    /// The key of the one that was [served](Self::serve) last.
    served: u32,
}

impl Subscriptions {
    /// The key of the subscription to a topic of that name.
    pub(crate) fn find(&self, topic: &str) -> Option<usize> {
        match &self.by_name {
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
        if self.by_key.capacity() == 0 {
            // A slab would begin with room for four.
            self.by_key = Slab::with_capacity(1);
        }
        let name = topic.name.clone();
        let place = Place::Behind(from);
        let key = self.by_key.insert(Subscription { topic, echo, on_lag, place, live_from });
        self.behind += 1;
        if let Some(by_name) = &mut self.by_name {
            by_name.insert(name, key);
        } else if self.by_key.len() > SEARCHED_MAX {
            let all = self.by_key.iter().map(|(key, s)| (s.topic.name.clone(), key));
            self.by_name = Some(Box::new(all.collect()));
        }
        key
    }

    /// Takes out the one with that key, which there must be.
    pub(crate) fn remove(&mut self, key: usize) -> Subscription {
        let subscription = self.by_key.remove(key);
        self.behind -= u32::from(subscription.behind().is_some());
        if let Some(by_name) = &mut self.by_name {
            by_name.remove(&subscription.topic.name);
        }
        if self.by_key.is_empty() {
            *self = Self::default();
        }
        subscription
    }

    /// It is in step from now on, or in another slot.
    pub(crate) fn put_in_step(&mut self, key: usize, slot: usize) {
        self.place(key, Place::InStep { slot });
    }

    /// It goes on at its own pace, from there on.
    pub(crate) fn put_behind(&mut self, key: usize, from: Cursor) {
        self.place(key, Place::Behind(from));
    }

    fn place(&mut self, key: usize, place: Place) {
        let subscription = &mut self.by_key[key];
        self.behind -= u32::from(subscription.behind().is_some());
        subscription.place = place;
        self.behind += u32::from(subscription.behind().is_some());
    }

    pub(crate) fn set_echo(&mut self, key: usize, echo: bool) {
        self.by_key[key].echo = echo;
    }

    pub(crate) fn set_on_lag(&mut self, key: usize, on_lag: OnLag) {
        self.by_key[key].on_lag = on_lag;
    }

    /// How many are behind.
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

    /// It is the turn of the one with that key.
    pub(crate) fn serve(&mut self, key: usize) {
        self.served = key as u32;
    }

    pub(crate) fn keys(&self) -> Vec<usize> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Subscription)> {
        self.by_key.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

impl Index<usize> for Subscriptions {
    type Output = Subscription;

    fn index(&self, key: usize) -> &Subscription {
        &self.by_key[key]
    }
}
