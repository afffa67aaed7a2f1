//! Who hands connections on to whom. Pure.
//!
//! One worker is quicker than two wherever one is enough: its walks wake nobody else, and those who read have the other
//! core. So light load stays together, on the first workers, and a worker that has all it can do hands on to the one that has
//! least. Between the two lies a wide field in which nobody moves, and who has handed on waits before it does so again,
//! longer each time: what cannot be divided goes to and fro less and less. A crowd does
//! not gather: one publication may be for all of it, and a long walk for one worker.

use crate::workers::{CROWD, Load};

/// The share of a core from which on a worker is busy.
pub(super) const BUSY: f64 = 0.95;
/// By how much less busy another must be to be handed anything.
const GAP: f64 = 0.3;
/// Two workers that need no more than this of a core together need no second one.
const LIGHT: f64 = 0.5;
/// Looks in a row that must find a worker busy before it hands on: one burst is not enough.
const BUSY_LOOKS: u32 = 3;
/// Looks in a row that must find two workers light before they are one.
const LIGHT_LOOKS: u32 = 20;
/// Times in a row that somebody hands on before it waits longer.
const PATIENT_GIVES: u32 = 4;
/// Looks that somebody waits at most who has handed on again and again.
const WAIT_MAX: u32 = 240;

/// What a worker is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Decision {
    /// Nobody moves.
    Stay,
    /// So large a part of its work, from 0 to 1, is for that worker.
    Give { to: usize, part: f64 },
    /// All of its connections are for that worker, some at a time.
    Gather { to: usize },
}

/// What a worker remembers of its looks at the others.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Looks in a row that found it busy, and another not.
    busy: u32,
    /// Looks in a row that found it and an earlier one light.
    light: u32,
    /// Looks until it may hand on again.
    wait: u32,
    /// Times that it has handed on of late.
    gave: u32,
    /// Looks since it did last, or since that was forgiven once.
    since_gave: u32,
}

impl Balance {
    /// Looks at what all workers have to do, of which it is that one.
    pub(crate) fn look(&mut self, me: usize, loads: &[Load]) -> Decision {
        self.rest();
        let Some(mine) = loads[me].share else { return Decision::Stay };
        let open = loads.iter().enumerate().filter_map(|(nth, load)| Some((nth, load.share?)));
        let others = || open.clone().filter(|&(nth, _)| nth != me);
        let least = others().min_by(|a, b| a.1.total_cmp(&b.1));
        let is_crowd = |nth: usize| loads[nth].sockets + loads[me].sockets > CROWD;
        let earlier = others().find(|&(nth, share)| nth < me && share + mine <= LIGHT && !is_crowd(nth));
        let idlest = least.filter(|&(_, share)| mine >= BUSY && share <= mine - GAP);
        self.busy = idlest.map_or(0, |_| self.busy + 1);
        self.light = earlier.map_or(0, |_| self.light + 1);
        if let Some((to, share)) = idlest.filter(|_| self.busy >= BUSY_LOOKS && self.wait == 0) {
            self.busy = 0;
            self.gave += 1;
            self.since_gave = 0;
            self.wait = wait_after(self.gave);
            return Decision::Give { to, part: (mine - share) / 2.0 / mine };
        }
        match earlier.filter(|_| self.light >= LIGHT_LOOKS) {
            Some((to, _)) => Decision::Gather { to },
            None => Decision::Stay,
        }
    }

    /// Time passes: of the times that it has handed on one is forgiven for each [`WAIT_MAX`] looks without.
    fn rest(&mut self) {
        self.wait = self.wait.saturating_sub(1);
        self.since_gave += 1;
        if self.since_gave >= WAIT_MAX {
            self.since_gave = 0;
            self.gave = self.gave.saturating_sub(1);
        }
    }
}

/// Looks to wait after having handed on so many times: what is much takes several, and is no reason to wait.
fn wait_after(gave: u32) -> u32 {
    (BUSY_LOOKS << gave.saturating_sub(PATIENT_GIVES).min(8)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(share: f64) -> Load {
        Load { share: Some(share), sockets: 0 }
    }

    fn all(shares: &[f64]) -> Vec<Load> {
        shares.iter().copied().map(load).collect()
    }

    /// The first decision other than to stay within so many looks, and after how many.
    fn decision(balance: &mut Balance, me: usize, shares: &[f64], looks: u32) -> Option<(u32, Decision)> {
        let mut looked = (1..=looks).map(|n| (n, balance.look(me, &all(shares))));
        looked.find(|(_, decision)| *decision != Decision::Stay)
    }

    #[test]
    fn a_busy_worker_hands_half_the_difference_to_the_one_that_has_least_but_not_for_a_burst() {
        let mut balance = Balance::default();
        let give = Decision::Give { to: 2, part: 0.4 };
        assert_eq!(decision(&mut balance, 0, &[1.0, 0.6, 0.2], 10), Some((BUSY_LOOKS, give)));
        let mut balance = Balance::default();
        for _ in 0..100 {
            assert_eq!(decision(&mut balance, 0, &[1.0, 0.1, 0.1], BUSY_LOOKS - 1), None);
            assert_eq!(decision(&mut balance, 0, &[0.8, 0.1, 0.1], 1), None);
        }
    }

    #[test]
    fn light_load_gathers_on_the_first_workers_after_a_while() {
        let gather = Some((LIGHT_LOOKS, Decision::Gather { to: 0 }));
        assert_eq!(decision(&mut Balance::default(), 1, &[0.2, 0.2], 1000), gather);
        assert_eq!(decision(&mut Balance::default(), 0, &[0.2, 0.2], 1000), None, "the first one keeps all");
        assert_eq!(decision(&mut Balance::default(), 1, &[0.3, 0.3], 1000), None);
        let to = Some((LIGHT_LOOKS, Decision::Gather { to: 1 }));
        assert_eq!(decision(&mut Balance::default(), 2, &[0.7, 0.2, 0.2], 1000), to);
    }

    #[test]
    fn a_crowd_stays_where_it_is_however_little_it_does() {
        let crowd = |sockets| [Load { sockets, ..load(0.1) }, Load { sockets: 100, ..load(0.1) }];
        let gathers = |sockets| {
            let mut balance = Balance::default();
            (0..1000).any(|_| balance.look(1, &crowd(sockets)) != Decision::Stay)
        };
        assert!(gathers(CROWD - 100));
        assert!(!gathers(CROWD - 99));
    }

    #[test]
    fn nothing_is_handed_to_a_worker_that_takes_nothing() {
        let loads = [load(1.0), Load { share: None, sockets: 0 }, load(0.5)];
        let mut balance = Balance::default();
        let given = (0..10).map(|_| balance.look(0, &loads)).find(|decision| *decision != Decision::Stay);
        assert_eq!(given, Some(Decision::Give { to: 2, part: 0.25 }));
    }

    #[test]
    fn what_cannot_be_divided_goes_to_and_fro_less_and_less() {
        // One connection is all the load, and goes where it is handed to.
        let mut balances = [Balance::default(), Balance::default()];
        let (mut at, mut moves) = (0, Vec::new());
        for look in 0..10_000 {
            let loads = all(&if at == 0 { [1.0, 0.0] } else { [0.0, 1.0] });
            let decisions = [0, 1].map(|me| balances[me].look(me, &loads));
            if let Decision::Give { to, .. } = decisions[at] {
                at = to;
                moves.push(look);
            }
        }
        let late = moves.iter().filter(|&&look| look >= 9_000).count();
        assert!(late <= 10, "{late} of {} moves in the last tenth", moves.len());
    }

    proptest! {
        /// Work that can be divided comes to rest, however it lies at first.
        #[test]
        fn whatever_the_load_is_soon_nobody_moves(mut work in prop::collection::vec(0.0..1.0f64, 2..6)) {
            let mut balances: Vec<_> = work.iter().map(|_| Balance::default()).collect();
            let mut moved_at = 0;
            for look in 0..4_000 {
                let loads: Vec<_> = work.iter().map(|work| load(work.min(1.0))).collect();
                for me in 0..work.len() {
                    match balances[me].look(me, &loads) {
                        Decision::Stay => continue,
                        Decision::Give { to, part } => {
                            let given = part * work[me];
                            work[me] -= given;
                            work[to] += given;
                        }
                        Decision::Gather { to } if work[me] > 0.0 => {
                            let given = work[me].min(0.05);
                            work[me] -= given;
                            work[to] += given;
                        }
                        Decision::Gather { .. } => continue,
                    }
                    moved_at = look;
                }
            }
            prop_assert!(moved_at < 3_000, "{work:?}");
            let total: f64 = work.iter().sum();
            prop_assert!(work.iter().all(|&work| work < 1.0 || total >= BUSY), "{work:?}");
        }
    }
}
