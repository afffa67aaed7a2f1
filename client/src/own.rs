//! Which publications are this client's own.
//!
//! The broker leaves out a connection's own publications where `echo` is false, but after a reconnect it
//! takes the client for another one, and two subscriptions of a client may want different things. So the
//! client knows its own publications by their message ids: those it made begin with its name, and the
//! latest that its callers gave are remembered.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::MessageId;

/// Most message ids of callers that are remembered.
const GIVEN_MAX: usize = 4096;

/// Makes message ids: 64 random bits that name this client, then a count, as 32 hexadecimal digits.
#[derive(Debug)]
pub(crate) struct MessageIds {
    name: u64,
    made: AtomicU64,
}

impl MessageIds {
    pub(crate) fn new(name: u64) -> Self {
        Self { name, made: AtomicU64::new(0) }
    }

    pub(crate) fn make(&self) -> MessageId {
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        MessageId::Made(format!("{:016x}{count:016x}", self.name).into())
    }

    pub(crate) fn own(&self) -> OwnPublications {
        let name = format!("{:016x}", self.name);
        OwnPublications { name, given: HashSet::new(), order: VecDeque::new() }
    }
}

/// Knows a client's own publications by their message ids.
#[derive(Debug)]
pub(crate) struct OwnPublications {
    /// What the ids that the client made begin with.
    name: String,
    given: HashSet<Arc<str>>,
    /// What is in `given`, oldest first. Invariant: at most [`GIVEN_MAX`] long.
    order: VecDeque<Arc<str>>,
}

impl OwnPublications {
    pub(crate) fn remember(&mut self, id: &MessageId) {
        let MessageId::Given(id) = id else { return };
        if !self.given.insert(id.clone()) {
            return;
        }
        if self.order.len() == GIVEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.given.remove(&oldest);
        }
        self.order.push_back(id.clone());
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        id.starts_with(&self.name) || self.given.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_are_distinct_and_known_again() {
        let ids = MessageIds::new(7);
        let (first, second) = (ids.make(), ids.make());
        assert_eq!(first.text().len(), 32);
        assert_ne!(first.text(), second.text());
        assert!(ids.own().contains(first.text()) && ids.own().contains(second.text()));
        assert!(!ids.own().contains(MessageIds::new(8).make().text()));
    }

    #[test]
    fn the_newest_given_ids_are_known_again_and_no_more_than_those_are_kept() {
        let mut own = MessageIds::new(7).own();
        for n in 0..=GIVEN_MAX {
            own.remember(&MessageId::Given(format!("order-{n}").into()));
        }
        assert!(!own.contains("order-0"));
        assert!(own.contains("order-1") && own.contains(&format!("order-{GIVEN_MAX}")));
        assert_eq!((own.given.len(), own.order.len()), (GIVEN_MAX, GIVEN_MAX));
    }
}
