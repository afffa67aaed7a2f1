//! Where each WebSocket is: the one list of all of them, in the order in which they came.
//!
//! It is what an operator's questions go by: a connection may move from worker to worker while it is asked for, but as long as
//! it lives it stands here. It is written when a connection opens, moves and ends, and never for what it does meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Uptime;
use crate::ids::ConnectionId;

/// Every connection that is open, or on its way from one worker to another.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Mutex<BTreeMap<ConnectionId, Place>>,
}

/// Where a connection is. It takes 12 bytes, for there are as many as connections.
#[derive(Debug, Clone, Copy)]
struct Place {
    worker: u16,
    key: u32,
    /// Seconds since the process started.
    opened_s: u32,
}

/// A connection that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: ConnectionId,
    /// The worker that has it, or is about to.
    pub(crate) worker: usize,
    /// The key under which that worker keeps it, if it does: another may have had it since, so the id counts as well.
    pub(crate) key: u32,
    /// The time since it was opened, in whole seconds.
    pub(crate) age: Duration,
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is that worker's from now on, under that key.
    pub(crate) fn put(&self, id: ConnectionId, worker: usize, key: u32) {
        let (worker, opened_s) = (worker as u16, seconds(Uptime::now()));
        let place = Place { worker, key, opened_s };
        self.lock()
            .entry(id)
            .and_modify(|it| *it = Place { opened_s: it.opened_s, ..place })
            .or_insert(place);
    }

    /// The connection is no more.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    /// Where the connection is; `None` where it is no more, or never was.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Listed> {
        self.lock().get(&id).map(|place| place.listed(id, seconds(Uptime::now())))
    }

    /// Up to `most` connections that came after that one, in the order in which they came.
    pub(crate) fn after(&self, after: Option<ConnectionId>, most: usize) -> Vec<Listed> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let now = seconds(Uptime::now());
        let places = self.lock();
        places.range((from, Bound::Unbounded)).take(most).map(|(&id, place)| place.listed(id, now)).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

fn seconds(at: Uptime) -> u32 {
    (at.as_ms() / 1000) as u32
}

impl Place {
    fn listed(self, id: ConnectionId, now_s: u32) -> Listed {
        let Self { worker, key, opened_s } = self;
        Listed {
            id,
            worker: worker.into(),
            key,
            age: Duration::from_secs(now_s.saturating_sub(opened_s).into()),
        }
    }
}

/// A connection between two workers, which nobody has: dropped, it is no more.
#[derive(Debug)]
pub(crate) struct OnItsWay {
    directory: Arc<Directory>,
    id: ConnectionId,
    has_arrived: bool,
}

impl OnItsWay {
    /// The connection leaves its worker.
    pub(crate) fn new(directory: &Arc<Directory>, id: ConnectionId) -> Self {
        Self { directory: Arc::clone(directory), id, has_arrived: false }
    }

    /// Somebody has it who will say when it is no more.
    pub(crate) fn arrive(mut self) {
        self.has_arrived = true;
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.directory.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(listed: &[Listed]) -> Vec<u64> {
        listed.iter().map(|one| one.id.get()).collect()
    }

    #[test]
    fn all_are_listed_in_the_order_in_which_they_came_wherever_they_have_moved() {
        let directory = Directory::default();
        for id in 1..=10 {
            directory.put(ConnectionId::new(id), 0, id as u32);
        }
        directory.put(ConnectionId::new(3), 1, 7);
        directory.remove(ConnectionId::new(5));
        assert_eq!(ids(&directory.after(None, 4)), [1, 2, 3, 4]);
        assert_eq!(ids(&directory.after(Some(ConnectionId::new(4)), 100)), [6, 7, 8, 9, 10]);
        assert_eq!(
            ids(&directory.after(Some(ConnectionId::new(5)), 1)),
            [6],
            "whoever was the last may have gone"
        );
        let moved = directory.find(ConnectionId::new(3)).expect("it lives");
        assert_eq!((moved.worker, moved.key), (1, 7));
        assert!(directory.find(ConnectionId::new(5)).is_none());
        assert_eq!(directory.len(), 9);
    }

    #[test]
    fn whoever_is_lost_on_the_way_is_no_more() {
        let directory = Arc::new(Directory::default());
        let (lost, arrived) = (ConnectionId::new(1), ConnectionId::new(2));
        for id in [lost, arrived] {
            directory.put(id, 0, 0);
        }
        drop(OnItsWay::new(&directory, lost));
        OnItsWay::new(&directory, arrived).arrive();
        assert_eq!(ids(&directory.after(None, 10)), [2]);
    }
}
