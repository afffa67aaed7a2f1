//! What a connection waits for: its next turn, credit to publish, an answer from elsewhere. Pure.

use std::cell::Cell;

/// Where it stands. Times are the worker's milliseconds, which wrap.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Since when it has had more to do and stood in line for its next turn.
    in_line_since: Cell<Option<u32>>,
    /// Since when it has stood in line for its worker's credit.
    awaits_credit_since: Cell<Option<u32>>,
    /// It has stood there, and got a share that it may not have used up.
    has_share: Cell<bool>,
    /// What is to be done next waits for an answer from elsewhere.
    awaits_answer: Cell<bool>,
}

impl Standing {
    pub(super) fn is_in_line(&self) -> bool {
        self.in_line_since.get().is_some()
    }

    pub(super) fn awaits_credit(&self) -> bool {
        self.awaits_credit_since.get().is_some()
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.awaits_answer.get()
    }

    /// Whether what is to be done next has to wait for more than a turn.
    pub(super) fn is_held(&self) -> bool {
        self.awaits_credit() || self.awaits_answer()
    }

    /// Whether it is the broker that does not read.
    pub(super) fn is_kept_waiting(&self) -> bool {
        self.is_in_line() || self.is_held()
    }

    /// Has to wait for an answer.
    pub(super) fn await_answer(&self) {
        self.awaits_answer.set(true);
    }

    /// Waits for no answer any more.
    pub(super) fn end_answer(&self) {
        self.awaits_answer.set(false);
    }

    /// Stands in line for its turn from now on; says whether it did not before.
    pub(super) fn enter_line(&self, now: u32) -> bool {
        let is_new = !self.is_in_line();
        if is_new {
            self.in_line_since.set(Some(now));
        }
        is_new
    }

    /// Stands there no longer; returns since when it did.
    pub(super) fn leave_line(&self) -> Option<u32> {
        self.in_line_since.take()
    }

    /// Has to wait for credit.
    pub(super) fn await_credit(&self, now: impl FnOnce() -> u32) {
        if !self.awaits_credit() {
            self.awaits_credit_since.set(Some(now()));
        }
        self.has_share.set(false);
    }

    /// Has got credit; returns since when it waited, if it did.
    pub(super) fn get_credit(&self) -> Option<u32> {
        let since = self.awaits_credit_since.take();
        if since.is_some() {
            self.has_share.set(true);
        }
        since
    }

    /// Has nothing more to publish for now; says whether it has a share left to give back.
    pub(super) fn give_share_back(&self) -> bool {
        !self.awaits_credit() && self.has_share.replace(false)
    }

    /// Publishes no more: returns since when it waited, if it did, and whether it has to leave the line for credit.
    pub(super) fn leave_credit(&self) -> (Option<u32>, bool) {
        let since = self.awaits_credit_since.take();
        (since, since.is_some() | self.has_share.replace(false))
    }
}
