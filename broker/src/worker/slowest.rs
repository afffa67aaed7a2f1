//! The connections whose sockets have taken nothing for longest: noted as the worker looks at all of them anyway. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::ConnectionId;

/// Connections that are noted in one pass.
const NOTED_MAX: usize = 256;

/// The slowest as they were when all were last looked at. Bounded, whoever is blocked.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    /// Those of the pass that is under way: milliseconds, id, key.
    noted: BinaryHeap<Reverse<(u32, ConnectionId, u32)>>,
    last: Vec<(u32, ConnectionId)>,
}

impl Slowest {
    /// A socket has taken nothing for so many milliseconds.
    pub(super) fn note(&mut self, ms: u32, id: ConnectionId, key: u32) {
        let is_full = self.noted.len() >= NOTED_MAX;
        if !is_full || self.noted.peek().is_some_and(|Reverse((least, ..))| ms > *least) {
            if is_full {
                self.noted.pop();
            }
            self.noted.push(Reverse((ms, id, key)));
        }
    }

    /// All were looked at.
    pub(super) fn end_pass(&mut self) {
        // Ascending by what is reversed: the slowest first.
        let sorted = std::mem::take(&mut self.noted).into_sorted_vec();
        self.last = sorted.into_iter().map(|Reverse((_, id, key))| (key, id)).collect();
    }

    /// Up to so many, the one first that had taken nothing for longest, by their keys and ids.
    pub(super) fn first(&self, most: usize) -> Vec<(u32, ConnectionId)> {
        self.last.iter().take(most).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_pass_come_first_and_are_no_more_than_may_be() {
        let mut slowest = Slowest::default();
        for nth in 1..=1000u32 {
            let ms = nth * 7919 % 1009;
            slowest.note(ms, ConnectionId::new(ms.into()), nth);
        }
        assert!(slowest.first(10).is_empty(), "not all were looked at");
        slowest.end_pass();
        let ids: Vec<_> = slowest.first(3).iter().map(|(_, id)| id.get()).collect();
        assert!(ids.is_sorted_by(|one, other| one > other) && ids[0] >= 1000, "{ids:?}");
        assert_eq!(slowest.first(1000).len(), NOTED_MAX);
        slowest.end_pass();
        assert!(slowest.first(10).is_empty(), "all take something now");
    }
}
