//! Whether a socket takes what is written to it. Pure.

use std::cell::Cell;
use std::time::Duration;

/// What the socket takes. Times are the worker's milliseconds, which wrap.
#[derive(Debug)]
pub(super) struct Backpressure {
    /// Whether the socket takes no more: its connection's own task waits until it does.
    is_blocked: Cell<bool>,
    /// The moment when it began to take nothing, where it takes nothing now.
    blocked_at: Cell<u32>,
    /// Whether it has taken nothing for so long that nothing more is kept for it than for anybody.
    is_stuck: Cell<bool>,
    /// Whether the socket has come from elsewhere, and it is not known yet what it takes.
    is_new_here: Cell<bool>,
    /// Whether its worker looks after it, for it may become stuck: it does so once at a time.
    is_watched: Cell<bool>,
}

/// The state of a socket, as a look at it has found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    /// The socket takes what is written.
    Free,
    /// The socket takes nothing, but has not done so for long.
    Blocked,
    /// The socket has taken nothing for too long.
    Stuck,
}

impl Backpressure {
    pub(super) fn new(now: u32) -> Self {
        Self {
            is_blocked: Cell::new(false),
            blocked_at: Cell::new(now),
            is_stuck: Cell::new(false),
            is_new_here: Cell::new(false),
            is_watched: Cell::new(false),
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.get()
    }

    /// The time, in milliseconds, for which the socket has taken nothing; `None` while it takes something.
    pub(super) fn blocked_for(&self, now: u32) -> Option<u32> {
        self.is_blocked.get().then(|| now.wrapping_sub(self.blocked_at.get()))
    }

    /// The socket takes no more for now; says whether somebody has to [look](Self::look) after it from now on.
    pub(super) fn block(&self, now: u32) -> bool {
        self.is_blocked.set(true);
        self.blocked_at.set(now);
        !self.is_watched.replace(true)
    }

    /// The socket takes more; says whether that is because its peer has taken something.
    pub(super) fn unblock(&self) -> bool {
        self.is_blocked.set(false);
        !self.is_new_here.replace(false)
    }

    /// The socket has come from elsewhere, and somebody [looks](Self::look) after it from now on: until it says that it takes
    /// something it counts as if it did not, since when it did not there if it did not.
    pub(super) fn begin_anew(&self, now: u32) {
        if !self.is_blocked.replace(true) {
            self.blocked_at.set(now);
            self.is_new_here.set(true);
        }
        self.is_watched.set(true);
    }

    /// Looks after it. But for one that is [`Blocked`](SocketState::Blocked), it is looked after no longer.
    pub(super) fn look(&self, now: u32, stuck_after: Duration) -> SocketState {
        let found = match self.blocked_for(now) {
            None => SocketState::Free,
            Some(ms) if u128::from(ms) >= stuck_after.as_millis() => SocketState::Stuck,
            Some(_) => SocketState::Blocked,
        };
        self.is_watched.set(found == SocketState::Blocked);
        found
    }

    /// Sets whether the socket is stuck from now on; says whether that is new.
    pub(super) fn set_stuck(&self, is_stuck: bool) -> bool {
        self.is_stuck.replace(is_stuck) != is_stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_stuck_that_takes_nothing_for_too_long() {
        let (socket, stuck_after) = (Backpressure::new(0), Duration::from_millis(500));
        assert_eq!(socket.look(10_000, stuck_after), SocketState::Free);
        assert!(socket.block(10_000), "it is to be looked after");
        assert!(!socket.block(10_100), "that is so already");
        assert_eq!(socket.look(10_599, stuck_after), SocketState::Blocked);
        assert_eq!(socket.look(10_600, stuck_after), SocketState::Stuck);
        assert!(socket.set_stuck(true) && !socket.set_stuck(true));
        assert_eq!(socket.blocked_for(10_700), Some(600));
        socket.unblock();
        assert_eq!(socket.blocked_for(10_700), None);
        assert!(socket.block(u32::MAX), "nobody looks after it any more");
        assert_eq!(socket.look(498, stuck_after), SocketState::Blocked, "the clock wraps");
        assert_eq!(socket.look(499, stuck_after), SocketState::Stuck);
    }

    #[test]
    fn a_socket_is_looked_after_once_for_as_long_as_it_may_become_stuck() {
        let (socket, stuck_after) = (Backpressure::new(0), Duration::from_millis(500));
        assert!(socket.block(0), "from now on");
        socket.unblock();
        assert!(!socket.block(100), "it still is");
        assert_eq!(socket.look(500, stuck_after), SocketState::Blocked, "it took something at 100");
        socket.unblock();
        assert_eq!(socket.look(600, stuck_after), SocketState::Free);
        assert!(socket.block(700), "nobody did any more");
        assert!(!socket.is_stuck(), "a look finds it out, and whoever looks says it");
    }
}
