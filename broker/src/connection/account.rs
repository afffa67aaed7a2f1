//! What a connection is charged for what it holds of messages on their way.

use std::cell::Cell;
use std::sync::Arc;

use crate::budget::Budget;

/// What a connection holds is charged in steps of so many bytes.
const STEP: usize = 4096;

/// The charge of one connection. Whoever drops it has to [close](Self::close) it before.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Steps of bytes, as charged.
    steps: Cell<u32>,
    /// To which budget.
    is_strangers: Cell<bool>,
}

impl Account {
    /// Charges what it holds now; says whether that is more than before, and more than there may be: strangers have
    /// what they have, and of the others the worker's sweep closes who holds most, if that is enough.
    ///
    /// There is a `budget` for strangers, and one for all others.
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

    /// Bytes, as charged.
    pub(super) fn bytes(&self) -> usize {
        self.steps.get() as usize * STEP
    }

    /// Gives all of it back.
    pub(super) fn close<'b>(&self, budget: impl Fn(bool) -> &'b Arc<Budget>) {
        budget(self.is_strangers.get()).give_back(self.bytes());
        self.steps.set(0);
    }
}
