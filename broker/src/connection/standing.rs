//! What a connection waits for: its next turn, credit to publish, an answer from elsewhere. Pure.

use std::cell::Cell;

/// The lines in which a connection stands. Times are the worker's milliseconds, which wrap; whether one counts is kept
/// apart from it, where it takes a byte instead of four.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The moment since which it has had more to do and stood in line for its next turn, where it does.
    in_line_since: Cell<u32>,
    /// The moment since which it has stood in line for its worker's credit, where it does.
    awaits_credit_since: Cell<u32>,
    is_in_line: Cell<bool>,
    awaits_credit: Cell<bool>,
    /// Whether it has stood there, and got a share that it may not have used up.
    has_share: Cell<bool>,
    /// Whether what is to be done next waits for an answer from elsewhere.
    awaits_answer: Cell<bool>,
}

impl Standing {
    pub(super) fn is_in_line(&self) -> bool {
        self.is_in_line.get()
    }

    pub(super) fn awaits_credit(&self) -> bool {
        self.awaits_credit.get()
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
        let is_new = !self.is_in_line.replace(true);
        if is_new {
            self.in_line_since.set(now);
        }
        is_new
    }

    /// Stands in line for its turn no longer; returns since when it did.
    pub(super) fn leave_line(&self) -> Option<u32> {
        self.is_in_line.take().then(|| self.in_line_since.get())
    }

    /// Has to wait for credit.
    pub(super) fn await_credit(&self, now: impl FnOnce() -> u32) {
        if !self.awaits_credit.replace(true) {
            self.awaits_credit_since.set(now());
        }
        self.has_share.set(false);
    }

    /// Has got credit; returns since when it waited, if it did.
    pub(super) fn get_credit(&self) -> Option<u32> {
        let since = self.end_credit();
        if since.is_some() {
            self.has_share.set(true);
        }
        since
    }

    fn end_credit(&self) -> Option<u32> {
        self.awaits_credit.take().then(|| self.awaits_credit_since.get())
    }

    /// Has nothing more to publish for now; says whether it has a share left to give back.
    pub(super) fn give_share_back(&self) -> bool {
        !self.awaits_credit() && self.has_share.replace(false)
    }

    /// Publishes no more: returns since when it waited, if it did, and whether it has to leave the line for credit.
    pub(super) fn leave_credit(&self) -> (Option<u32>, bool) {
        let since = self.end_credit();
        (since, since.is_some() | self.has_share.replace(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_in_line_keeps_the_place_that_it_took_first() {
        let standing = Standing::default();
        assert!(standing.enter_line(10) && !standing.enter_line(20));
        assert!(standing.is_in_line() && standing.is_kept_waiting());
        assert!(!standing.is_held(), "it needs nothing but its turn");
        assert_eq!((standing.leave_line(), standing.leave_line()), (Some(10), None));
        assert!(!standing.is_kept_waiting());
        assert!(standing.enter_line(30), "it lines up anew");
    }

    #[test]
    fn a_wait_for_credit_is_counted_from_its_begin_and_once() {
        let standing = Standing::default();
        assert_eq!(standing.get_credit(), None, "it did not wait");
        standing.await_credit(|| 10);
        standing.await_credit(|| unreachable!("the clock is read once"));
        assert!(standing.awaits_credit() && standing.is_held());
        assert_eq!((standing.get_credit(), standing.get_credit()), (Some(10), None));
        assert!(!standing.is_held());
    }

    #[test]
    fn a_share_is_given_back_once_by_whoever_waited_for_it_and_waits_no_more() {
        let standing = Standing::default();
        assert_eq!(standing.get_credit(), None);
        assert!(!standing.give_share_back(), "who did not wait drew from what is left, and has no share");
        standing.await_credit(|| 10);
        assert!(!standing.give_share_back(), "it has none yet");
        assert_eq!(standing.get_credit(), Some(10));
        assert!(standing.give_share_back() && !standing.give_share_back());
        // It uses its share up, and waits for another.
        standing.await_credit(|| 20);
        assert_eq!(standing.get_credit(), Some(20));
        standing.await_credit(|| 30);
        assert!(!standing.give_share_back());
    }

    #[test]
    fn whoever_leaves_while_it_waits_or_has_a_share_leaves_the_line_for_credit() {
        let standing = Standing::default();
        assert_eq!(standing.leave_credit(), (None, false), "it was never in it");
        standing.await_credit(|| 10);
        assert_eq!(standing.leave_credit(), (Some(10), true));
        standing.await_credit(|| 20);
        assert_eq!(standing.get_credit(), Some(20));
        assert_eq!(standing.leave_credit(), (None, true), "its share is for others");
        assert_eq!(standing.leave_credit(), (None, false));
    }

    #[test]
    fn while_an_answer_is_waited_for_it_is_the_broker_that_does_not_read() {
        let standing = Standing::default();
        assert!(!standing.is_kept_waiting());
        standing.await_answer();
        assert!(standing.awaits_answer() && standing.is_held() && standing.is_kept_waiting());
        standing.end_answer();
        assert!(!standing.awaits_answer() && !standing.is_held() && !standing.is_kept_waiting());
    }
}
