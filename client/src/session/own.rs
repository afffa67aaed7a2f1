//! Which publications are this client's own.
//!
//! The broker leaves out a connection's own publications where `echo` is false, but after a reconnect it
//! takes the client for another one, and two subscriptions of a client may want different things. So the
//! client knows its own publications by topic and message id, and once they are acknowledged by where they
//! stand: somebody else's is never taken for one, whatever id it bears.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use fanfare_protocol::Position;

/// Most publications that are remembered, the latest ones.
pub(crate) const REMEMBERED_MAX: usize = 4096;

/// A hasher for what is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Stands for a topic and a message id in it: a keyed hash. Of those that are remembered two are the same by chance once
/// in 10^12 publications, and then the place tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

/// Where a publication stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(Position),
    /// Anywhere: it was sent on a connection that is gone.
    Lost,
    /// Not acknowledged by the present connection: its message does not come before that.
    Unacknowledged,
}

/// Knows a client's own publications.
#[derive(Debug, Default)]
pub(crate) struct OwnPublications {
    keys: RandomState,
    sent: HashMap<Key, Place, BuildHasherDefault<AsItIs>>,
    /// What is, or was, in `sent`, oldest first. Invariant: at most [`REMEMBERED_MAX`] long.
    order: VecDeque<Key>,
}

impl OwnPublications {
    fn key(&self, topic: &str, id: &str) -> Key {
        Key(self.keys.hash_one((topic, id)))
    }

    /// One that is sent for the first time; under an id that was used before where the first stands counts. Returns what
    /// it is known by.
    pub(crate) fn sent(&mut self, topic: &str, id: &str) -> Key {
        let key = self.key(topic, id);
        match self.sent.entry(key) {
            Entry::Occupied(_) => return key,
            Entry::Vacant(place) => place.insert(Place::Unacknowledged),
        };
        if self.order.len() == REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
        }
        self.order.push_back(key);
        key
    }

    /// The broker has it there.
    pub(crate) fn acknowledged(&mut self, key: Key, at: Position) {
        if let Some(place) = self.sent.get_mut(&key) {
            *place = Place::At(at);
        }
    }

    /// The broker does not have it, or has somebody else's under that id; unless an earlier one of that id was
    /// acknowledged.
    pub(crate) fn forget_unplaced(&mut self, key: Key) {
        if matches!(self.sent.get(&key), Some(Place::Lost | Place::Unacknowledged)) {
            // It keeps its place in `order`, which is bounded.
            self.sent.remove(&key);
        }
    }

    /// The connection that it was sent on is gone.
    pub(crate) fn lost(&mut self, key: Key) {
        if let Some(place) = self.sent.get_mut(&key)
            && *place == Place::Unacknowledged
        {
            *place = Place::Lost;
        }
    }

    /// Whether the publication with that id which stands there is this client's.
    pub(crate) fn contains(&self, topic: &str, id: Option<&str>, at: Position) -> bool {
        let sent = id.and_then(|id| self.sent.get(&self.key(topic, id)));
        match sent {
            Some(Place::At(place)) => *place == at,
            Some(Place::Lost) => true,
            Some(Place::Unacknowledged) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{Epoch, Offset};

    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::from_number(1), offset: Offset::new(offset) }
    }

    #[test]
    fn an_own_publication_is_known_by_topic_id_and_place() {
        let mut own = OwnPublications::default();
        let seven = own.sent("x", "order-7");
        assert!(!own.contains("x", Some("order-7"), at(3)), "its ack would have come first");
        own.lost(seven);
        assert!(own.contains("x", Some("order-7"), at(3)), "its ack may have been lost");
        assert!(!own.contains("y", Some("order-7"), at(3)) && !own.contains("x", Some("order-8"), at(3)));
        assert!(!own.contains("x", None, at(3)));
        own.acknowledged(seven, at(3));
        assert!(own.contains("x", Some("order-7"), at(3)));
        assert!(!own.contains("x", Some("order-7"), at(900)), "somebody has taken the id once more");
        let nine = own.sent("x", "order-9");
        own.lost(nine);
        own.forget_unplaced(nine);
        assert!(!own.contains("x", Some("order-9"), at(4)));
    }

    #[test]
    fn the_latest_are_remembered_and_no_more_than_those() {
        let mut own = OwnPublications::default();
        for n in 0..=REMEMBERED_MAX {
            own.sent("t", &n.to_string());
            own.sent("t", &n.to_string());
        }
        let known = |n: &str| own.sent.contains_key(&own.key("t", n));
        assert!(!known("0") && known("1"));
        assert!(own.sent.len() <= REMEMBERED_MAX && own.order.len() <= REMEMBERED_MAX);
    }
}
