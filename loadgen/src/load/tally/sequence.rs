//! Whether the publications of one publisher arrive in order, once each.

/// Most stretches of missing numbers that are remembered at a time: 8 KiB.
const HOLES_MAX: usize = 1024;

/// What one subscriber has seen of one publisher on one topic.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// Invariant: everything below it has arrived or is in a hole.
    next: u32,
    /// Ranges skipped so far, ascending, the end not included; mostly empty, hence the box.
    #[expect(clippy::box_collection, reason = "there is one for every subscriber and publisher")]
    holes: Option<Box<Vec<(u32, u32)>>>,
}

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Here before, or so long overdue that nobody waits for it any more.
    Duplicate,
    /// Newer than all before, though some may have been left out.
    InOrder,
    /// Missed until now: something newer came first.
    Late,
}

impl Sequence {
    /// Notes that number `n` arrived.
    pub(crate) fn arrived(&mut self, n: u32) -> Arrival {
        if n == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        if n > self.next {
            let holes = self.holes.get_or_insert_default();
            holes.push((self.next, n));
            forget_oldest(holes);
            self.next = n + 1;
            return Arrival::InOrder;
        }
        if self.fill(n) { Arrival::Late } else { Arrival::Duplicate }
    }

    /// One more than the highest number that has arrived.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Whether `n` was missing; it no longer is.
    fn fill(&mut self, n: u32) -> bool {
        let Some(holes) = &mut self.holes else { return false };
        let at = holes.partition_point(|&(_, end)| end <= n);
        let Some(&(start, end)) = holes.get(at) else { return false };
        if n < start {
            return false;
        }
        holes.splice(at..=at, [(start, n), (n + 1, end)].into_iter().filter(|(start, end)| start < end));
        forget_oldest(holes);
        true
    }
}

fn forget_oldest(holes: &mut Vec<(u32, u32)>) {
    if holes.len() > HOLES_MAX {
        holes.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(numbers: &[u32]) -> Vec<Arrival> {
        let mut sequence = Sequence::default();
        numbers.iter().map(|n| sequence.arrived(*n)).collect()
    }

    #[test]
    fn consecutive_numbers_are_in_order_and_so_are_those_after_a_loss() {
        assert_eq!(arrivals(&[0, 1, 2, 7, 8]), [Arrival::InOrder; 5]);
    }

    #[test]
    fn a_number_seen_before_is_a_duplicate() {
        use Arrival::{Duplicate, InOrder};
        assert_eq!(
            arrivals(&[0, 0, 1, 5, 0, 5]),
            [InOrder, Duplicate, InOrder, InOrder, Duplicate, Duplicate]
        );
    }

    #[test]
    fn a_skipped_number_is_late_once_and_then_a_duplicate() {
        use Arrival::{Duplicate, InOrder, Late};
        assert_eq!(arrivals(&[4, 2, 2, 0, 1, 3, 1]), [InOrder, Late, Duplicate, Late, Late, Late, Duplicate]);
    }

    #[test]
    fn every_permutation_of_a_few_numbers_is_seen_as_each_once() {
        let mut numbers = [0, 1, 2, 3, 4, 5];
        permute(&mut numbers, 0, &mut |numbers| {
            let seen = arrivals(numbers);
            assert!(!seen.contains(&Arrival::Duplicate), "{numbers:?}");
            let late =
                numbers.iter().enumerate().filter(|(i, n)| numbers[..*i].iter().any(|m| m > n)).count();
            assert_eq!(seen.iter().filter(|a| **a == Arrival::Late).count(), late, "{numbers:?}");
        });
    }

    fn permute(numbers: &mut [u32; 6], from: usize, check: &mut impl FnMut(&[u32])) {
        if from == numbers.len() {
            return check(numbers);
        }
        for i in from..numbers.len() {
            numbers.swap(from, i);
            permute(numbers, from + 1, check);
            numbers.swap(from, i);
        }
    }

    #[test]
    fn the_oldest_hole_is_given_up_when_there_are_too_many() {
        let mut sequence = Sequence::default();
        for n in 0..=HOLES_MAX as u32 {
            sequence.arrived(2 * n + 1);
        }
        assert_eq!(sequence.arrived(0), Arrival::Duplicate);
        assert_eq!(sequence.arrived(2), Arrival::Late);
        // One large hole that is filled here and there falls into many.
        let mut sequence = Sequence::default();
        sequence.arrived(10 * HOLES_MAX as u32);
        for n in 0..2 * HOLES_MAX as u32 {
            sequence.arrived(2 * n + 1);
        }
        assert_eq!(sequence.holes.expect("holes").len(), HOLES_MAX);
    }
}
