//! What a connection is charged for what it holds of messages on their way. Pure.

use std::cell::Cell;
use std::sync::Arc;

use crate::budget::Budget;

/// Bytes of a step in which a connection is charged, so that small things that come and go cost nothing.
const STEP: usize = 4096;

/// The charge of one connection. Whoever drops it has to [close](Self::close) it before.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Invariant: the steps that are charged to one of the budgets.
    steps: Cell<u32>,
    /// Whether that is the budget of strangers.
    is_strangers: Cell<bool>,
}

impl Account {
    /// Charges what it holds now; says whether that is more than before, and more than there may be: strangers have
    /// what they have, and of the others the worker's sweep closes who holds most, if that is enough.
    ///
    /// The `budget` of strangers is one, that of all others another.
    pub(super) fn charge<'b>(
        &self,
        budget: impl Fn(bool) -> &'b Arc<Budget>,
        bytes: usize,
        is_stranger: bool,
    ) -> bool {
        let steps = bytes.div_ceil(STEP) as u32;
        let before = self.steps.get();
        if steps == before && (steps == 0 || is_stranger == self.is_strangers.get()) {
            return false;
        }
        budget(self.is_strangers.get()).give_back(before as usize * STEP);
        let budget = budget(is_stranger);
        budget.take(steps as usize * STEP);
        self.steps.set(steps);
        self.is_strangers.set(is_stranger);
        steps > before && if is_stranger { budget.is_over() } else { budget.is_exhausted() }
    }

    /// Bytes that are charged: what it holds, in whole steps.
    pub(super) fn bytes(&self) -> usize {
        self.steps.get() as usize * STEP
    }

    /// Gives back all that is charged.
    pub(super) fn close<'b>(&self, budget: impl Fn(bool) -> &'b Arc<Budget>) {
        budget(self.is_strangers.get()).give_back(self.bytes());
        self.steps.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The budgets of strangers, and of all others.
    struct Budgets([Arc<Budget>; 2]);

    impl Budgets {
        fn new(limit: usize) -> Self {
            Self([Budget::new(limit), Budget::new(limit)])
        }

        fn of(&self, is_stranger: bool) -> &Arc<Budget> {
            &self.0[usize::from(!is_stranger)]
        }

        fn used(&self) -> [usize; 2] {
            [self.0[0].used(), self.0[1].used()]
        }
    }

    proptest! {
        #[test]
        fn what_is_charged_is_what_is_held_and_all_of_it_is_given_back(
            holds in prop::collection::vec((0..100_000usize, any::<bool>()), 0..20),
        ) {
            let (account, budgets) = (Account::default(), Budgets::new(usize::MAX));
            for (bytes, is_stranger) in holds {
                account.charge(|of| budgets.of(of), bytes, is_stranger);
                let charged = account.bytes();
                prop_assert!((bytes..bytes + STEP).contains(&charged), "{charged} for {bytes}");
                let expected = if is_stranger { [charged, 0] } else { [0, charged] };
                prop_assert_eq!(budgets.used(), expected, "one of the two has all of it");
            }
            account.close(|of| budgets.of(of));
            prop_assert_eq!((budgets.used(), account.bytes()), ([0, 0], 0));
        }
    }

    #[test]
    fn a_stranger_may_not_pass_its_budget_and_whoever_gives_something_back_may_always() {
        let budgets = Budgets::new(2 * STEP);
        let (one, other) = (Account::default(), Account::default());
        let charge = |account: &Account, bytes| account.charge(|of| budgets.of(of), bytes, true);
        assert!(!charge(&one, 2 * STEP));
        assert!(charge(&other, 1), "who comes last is over it");
        assert!(!charge(&other, 1), "and is told so when it takes more, not each time");
        assert!(!charge(&one, STEP));
    }

    #[test]
    fn others_are_refused_only_where_the_budget_is_exhausted() {
        let (account, budgets) = (Account::default(), Budgets::new(2 * STEP));
        let charge = |bytes| account.charge(|of| budgets.of(of), bytes, false);
        assert!(!charge(3 * STEP), "the sweep closes who holds most");
        assert!(charge(5 * STEP), "but nobody has twice of what there is");
    }
}
