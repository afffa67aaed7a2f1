//! What is let past those who wait for credit: publications of whoever publishes now and then. Pure.

use std::collections::HashMap;

use super::{Allowance, Lane, Wants};

/// What is let past the line in a round of those who want to publish more, and as much of those who publish once: the one kind leaves
/// the other its part. It is paid with the credit of the next round.
pub(super) const PASSING: u32 = 96;
/// How many of those one publisher may have in a round.
const PASSING_EACH: u32 = 4;
/// And how many in [`PASSING_ROUNDS`]: a round may last as long as it takes many a publisher to have the next one.
const PASSING_LATELY: u32 = 16;
/// So many rounds it takes until it is forgotten who was let past.
const PASSING_ROUNDS: u64 = 16;
/// Bytes of a publication that may pass.
const PASSING_BYTES: usize = 8 * 1024;

/// What may pass, and what has.
#[derive(Debug)]
pub(super) struct Passing {
    /// What may still be let past the line before the next round, by what is wanted.
    left: [u32; 2],
    max: u32,
    /// What was let past since the last round: below zero.
    owed: Allowance,
    /// What those have had lately who may want more. Bounded: as many rounds as it lasts let so many pass.
    lately: HashMap<Lane, Had>,
    round: u64,
}

/// How many of a publisher have passed.
#[derive(Debug, Default)]
struct Had {
    round: u64,
    in_round: u32,
    lately: u32,
}

impl Passing {
    /// Lets so much of each kind pass in a round.
    pub(super) fn new(max: u32) -> Self {
        Self { left: [max; 2], max, owed: Allowance::NONE, lately: HashMap::new(), round: 0 }
    }

    /// Lets a small publication past the line, where that is not the publisher's rule but its exception.
    pub(super) fn takes(&mut self, lane: Lane, bytes: usize, wants: Wants) -> bool {
        let left = &mut self.left[wants as usize];
        if bytes > PASSING_BYTES || *left == 0 {
            return false;
        }
        if wants == Wants::Many {
            let had = self.lately.entry(lane).or_default();
            if had.round != self.round {
                (had.round, had.in_round) = (self.round, 0);
            }
            if had.in_round >= PASSING_EACH || had.lately >= PASSING_LATELY {
                return false;
            }
            had.in_round += 1;
            had.lately += 1;
        }
        *left -= 1;
        self.owed.take(bytes);
        true
    }

    /// The round of that number is over: returns what has passed since the last one, below zero.
    pub(super) fn refill(&mut self, round: u64) -> Allowance {
        self.left = [self.max; 2];
        self.round = round;
        if round.is_multiple_of(PASSING_ROUNDS) {
            self.lately.clear();
        }
        std::mem::replace(&mut self.owed, Allowance::NONE)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::{Credit, ROUND};
    use super::*;

    fn takes(credit: &Credit, lane: u64, bytes: usize) -> bool {
        credit.poll_take(Lane(lane), bytes, Wants::Many, Waker::noop()).is_ready()
    }

    #[test]
    fn whoever_publishes_now_and_then_does_not_wait_for_those_who_do_without_a_pause() {
        for busy in [1, 10, 200] {
            let credit = Credit::default();
            for round in 0..1000 {
                for lane in 0..busy {
                    while takes(&credit, lane, 100) {}
                }
                let sparse = 1000 + round % 2;
                // In the first round all are newcomers.
                assert!(takes(&credit, sparse, 100) || round == 0, "{busy} in round {round}");
                credit.leave(Lane(sparse));
                credit.refill();
            }
        }
    }

    #[test]
    fn what_passes_the_line_is_bounded_and_paid_and_those_who_wait_go_on() {
        let credit = Credit::default();
        while takes(&credit, 0, 100) {}
        let (mut all, mut of_busy, mut by_lane) = (0, 0, [0; 101]);
        for round in 1..=10 * PASSING_ROUNDS {
            let mut in_round = 0;
            for lane in 1..=100 {
                let passed = (0..100).take_while(|_| takes(&credit, lane, 100)).count();
                assert!(passed <= PASSING_EACH as usize, "{passed}");
                by_lane[lane as usize] += passed;
                in_round += passed;
            }
            assert!(in_round <= PASSING as usize, "{in_round}");
            assert!(!takes(&credit, 101, PASSING_BYTES + 1), "a large one waits");
            (1..=101).for_each(|lane| credit.leave(Lane(lane)));
            credit.refill();
            if round.is_multiple_of(PASSING_ROUNDS) {
                assert!(by_lane.iter().all(|passed| *passed <= PASSING_LATELY as usize), "{by_lane:?}");
                by_lane = [0; 101];
            }
            let taken = (0..).take_while(|_| takes(&credit, 0, 100)).count();
            // Of a round, what passed before it is paid first.
            assert!(taken as i64 >= ROUND.count - i64::from(PASSING), "{taken} of the one who waited");
            all += in_round + taken;
            of_busy += taken;
        }
        assert!(
            all > of_busy && all as i64 <= 10 * PASSING_ROUNDS as i64 * ROUND.count + i64::from(PASSING),
            "{all}"
        );
    }

    #[test]
    fn those_who_publish_once_leave_the_others_what_may_pass_of_them() {
        let credit = Credit::default();
        while takes(&credit, 0, 100) {}
        let once = |lane| credit.poll_take(Lane(lane), 100, Wants::One, Waker::noop()).is_ready();
        assert_eq!((1000..2000).filter(|lane| once(*lane)).count(), PASSING as usize);
        assert!(takes(&credit, 1, 100), "a crowd of those takes nothing from this one");
    }
}
