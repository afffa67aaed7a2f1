//! Answers that wait to be read, and how those that are read slowly are given up where memory is needed.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::time::Instant;

/// An answer that was taken within this time is never given up.
const GRACE: Duration = Duration::from_secs(1);

/// Whether an HTTP connection is given up for what its peer does not read.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    is_given_up: AtomicBool,
    waker: AtomicWaker,
}

impl Relief {
    /// Whether it is given up; if not, `waker` is woken when it is.
    pub(crate) fn is_given_up(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.is_given_up.load(Ordering::Acquire)
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// All answers that wait to be read and are charged.
#[derive(Debug, Default)]
pub(crate) struct UnreadAnswers(Mutex<Slab<UnreadAnswer>>);

#[derive(Debug)]
struct UnreadAnswer {
    bytes: usize,
    since: Instant,
    connection: Arc<Relief>,
}

impl UnreadAnswers {
    fn lock(&self) -> MutexGuard<'_, Slab<UnreadAnswer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an answer of so many bytes, until what this returns is dropped.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize, connection: Arc<Relief>) -> AnswerGuard {
        let key = self.lock().insert(UnreadAnswer { bytes, since: Instant::now(), connection });
        AnswerGuard { answers: Arc::clone(self), key }
    }

    /// Gives up the largest of those that have waited for a while, until so many bytes are or will be free. Returns
    /// how many that are. A reader that asks again gets the same answer, while what a WebSocket has is lost with it:
    /// so these go first.
    pub(crate) fn give_up(&self, bytes: usize, now: Instant) -> usize {
        let answers = self.lock();
        let slow = answers.iter().map(|(_, answer)| answer).filter(|answer| answer.since + GRACE <= now);
        let mut slow: Vec<_> = slow.collect();
        slow.sort_by_key(|answer| Reverse(answer.bytes));
        let mut freed = 0;
        for answer in slow {
            if freed >= bytes {
                break;
            }
            answer.connection.give_up();
            freed += answer.bytes;
        }
        freed
    }
}

/// An answer that waits.
#[derive(Debug)]
pub(crate) struct AnswerGuard {
    answers: Arc<UnreadAnswers>,
    key: usize,
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        let mut answers = self.answers.lock();
        answers.remove(self.key);
        if answers.is_empty() {
            // A crowd leaves nothing behind.
            answers.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_go_first_and_none_that_has_just_come() {
        let answers = Arc::new(UnreadAnswers::default());
        let connections: Vec<_> = (0..4).map(|_| Arc::new(Relief::default())).collect();
        let given_up = || connections.iter().map(|it| it.is_given_up(Waker::noop())).collect::<Vec<_>>();
        let enter = |bytes, nth: usize| answers.enter(bytes, Arc::clone(&connections[nth]));
        let _slow = (enter(10, 0), enter(30, 1), enter(20, 2));
        let now = Instant::now();
        assert_eq!(answers.give_up(1000, now), 0);
        let later = now + GRACE;
        while Instant::now() <= now {}
        let new = enter(1000, 3);
        assert_eq!(answers.give_up(40, later), 50);
        assert_eq!(given_up(), [false, true, true, false]);
        assert_eq!(answers.give_up(1000, later), 60, "what will be free soon counts");
        drop((new, _slow));
        assert!(answers.lock().is_empty());
    }
}
