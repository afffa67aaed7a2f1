//! Whether the peer is still there. Pure.
//!
//! Silence is judged by a question that stayed unanswered, never by the time since the peer was last heard alone:
//! whoever was not asked, or could not be heard because this process did not read or did not run, may well have
//! had nothing to say.

use std::num::NonZeroU32;

/// A moment that is kept in no more room where there may be none: the one that is 0 is a millisecond
/// earlier, or it would be in the future.
fn some(now: u32) -> NonZeroU32 {
    NonZeroU32::new(now).unwrap_or(NonZeroU32::MAX)
}

/// When a peer was asked, and what it owes. Times are the worker's milliseconds, which wrap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Liveness {
    /// The moment when the last ping was sent.
    pinged_at: u32,
    /// The moment when the first ping was sent after which nothing was heard; `None` while nothing is owed.
    unanswered_since: Option<NonZeroU32>,
    /// The moment since which a message is on its way in that is not whole; `None` where there is none.
    amid_since: Option<NonZeroU32>,
}

impl Liveness {
    pub(super) fn new(now: u32) -> Self {
        Self { pinged_at: now, unanswered_since: None, amid_since: None }
    }

    /// The peer has said something, or taken something that it was sent.
    pub(super) fn heard(&mut self) {
        self.unanswered_since = None;
    }

    /// A ping is on its way.
    pub(super) fn asked(&mut self, now: u32) {
        self.pinged_at = now;
        self.unanswered_since.get_or_insert_with(|| some(now));
    }

    /// An answer could not be heard until now: the peer has as much time again.
    pub(super) fn ask_anew(&mut self, now: u32) {
        if let Some(since) = &mut self.unanswered_since {
            *since = some(now);
        }
    }

    /// A message is on its way that is not whole, or none is any longer. A `new` one begins now.
    pub(super) fn amid(&mut self, is_amid: bool, is_new: bool, now: u32) {
        let since = self.amid_since.filter(|_| !is_new).unwrap_or_else(|| some(now));
        self.amid_since = is_amid.then_some(since);
    }

    /// The rest of the message was not asked for until now.
    pub(super) fn excuse(&mut self, now: u32) {
        if let Some(since) = &mut self.amid_since {
            *since = some(now);
        }
    }

    /// Whether a ping stayed unanswered for a whole interval.
    pub(super) fn is_silent(&self, now: u32, interval_ms: u32) -> bool {
        self.unanswered_since.is_some_and(|since| now.wrapping_sub(since.get()) >= interval_ms)
    }

    /// Whether a message is not whole although its time is up.
    pub(super) fn is_late(&self, now: u32, timeout_ms: u32) -> bool {
        self.amid_since.is_some_and(|since| now.wrapping_sub(since.get()) > timeout_ms)
    }

    /// Whether it is time for a ping.
    pub(super) fn is_ping_due(&self, now: u32, interval_ms: u32) -> bool {
        now.wrapping_sub(self.pinged_at) >= interval_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unanswered_question_is_silence() {
        let mut peer = Liveness::new(0);
        assert!(!peer.is_silent(1_000_000, 25), "nobody asked");
        peer.asked(100);
        peer.asked(120);
        assert!(!peer.is_silent(124, 25) && peer.is_silent(125, 25), "counted from the first question");
        peer.heard();
        assert!(!peer.is_silent(1_000_000, 25));
        peer.asked(200);
        peer.ask_anew(300);
        assert!(!peer.is_silent(324, 25) && peer.is_silent(325, 25));
    }

    #[test]
    fn a_ping_is_due_an_interval_after_the_last_one_also_where_the_clock_wraps() {
        let mut peer = Liveness::new(u32::MAX - 10);
        assert!(!peer.is_ping_due(13, 25) && peer.is_ping_due(14, 25));
        peer.asked(14);
        peer.heard();
        assert!(!peer.is_ping_due(38, 25) && peer.is_ping_due(39, 25), "whatever it has said since");
        peer.asked(0);
        assert!(!peer.is_silent(0, 25) && peer.is_silent(25, 25), "also at the moment at which it wraps");
        peer.heard();
        peer.ask_anew(50);
        assert!(!peer.is_silent(1_000_000, 25), "whoever owes nothing is not asked anew");
    }

    #[test]
    fn a_message_has_its_time_from_its_begin_or_since_we_read_on() {
        let mut peer = Liveness::new(0);
        peer.amid(true, false, 10);
        peer.amid(true, false, 50);
        assert!(peer.is_late(111, 100));
        peer.amid(true, true, 60);
        assert!(!peer.is_late(111, 100), "another one began");
        peer.excuse(200);
        assert!(!peer.is_late(300, 100) && peer.is_late(301, 100));
        peer.amid(false, false, 300);
        assert!(!peer.is_late(10_000, 100));
    }
}
