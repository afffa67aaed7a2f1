//! What one connection subscribes to.

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

/// All subscriptions of a connection, each under a key that stays.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_key: Slab<Subscription>,
    /// Invariant: where it is there it has the key of every subscription. Most connections have one or two, and
    /// need no map to find them.
    #[expect(clippy::box_collection, reason = "every connection would be 40 bytes larger")]
    by_name: Option<Box<HashMap<TopicName, usize>>>,
}

impl Subscriptions {
    /// The key of the subscription to a topic of that name.
    pub(crate) fn find(&self, topic: &str) -> Option<usize> {
        match &self.by_name {
            Some(by_name) => by_name.get(topic).copied(),
            None => self.iter().find(|(_, s)| s.topic.name.as_str() == topic).map(|(key, _)| key),
        }
    }

    /// Adds one to a topic to which there is none yet; returns its key.
    pub(crate) fn insert(&mut self, subscription: Subscription) -> usize {
        if self.by_key.capacity() == 0 {
            // A slab would begin with room for four.
            self.by_key = Slab::with_capacity(1);
        }
        let name = subscription.topic.name.clone();
        let key = self.by_key.insert(subscription);
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
        if let Some(by_name) = &mut self.by_name {
            by_name.remove(&subscription.topic.name);
        }
        if self.by_key.is_empty() {
            *self = Self::default();
        }
        subscription
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

impl IndexMut<usize> for Subscriptions {
    fn index_mut(&mut self, key: usize) -> &mut Subscription {
        &mut self.by_key[key]
    }
}
