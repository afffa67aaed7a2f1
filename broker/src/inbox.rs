//! What comes to a worker from elsewhere beside topics: answers that were not known at once.
//!
//! Each question has a ticket. Its answer is taken in by the worker between two steps of its own, or by the request that
//! waits for it. Invariant: what is in here has a ticket, and they are bounded.

mod pending;
mod promise;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::{Outcome, Refusal, Ticket};
use crate::topic::Mailbox;
pub(crate) use pending::Pending;
pub use promise::{Later, Promise};

/// Questions of one worker that may wait for their answers.
const WAITING_MAX: usize = 64 * 1024;
/// An answer that has not come after so long is waited for no longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// By more than this the clock is not moved on at once: then the worker did not run.
const STEP_MAX: Duration = Duration::from_secs(1);
/// Questions that are given up at once.
const EXPIRED_MAX: usize = 1024;

/// The questions of one worker that wait for their answers, and the answers that it has yet to take in.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Promises that are neither kept nor broken: whoever gave them holds something for each.
    promises: AtomicUsize,
    /// Whether there are answers to be taken in: looked at without the lock, for mostly there are none.
    has_answers: AtomicBool,
    /// Wakes the worker.
    mailbox: Arc<Mailbox>,
}

#[derive(Debug)]
struct State {
    last: u64,
    /// Goes on with the worker: time in which it did not run counts against nobody.
    clock: Duration,
    /// When it was moved on.
    moved_at: Instant,
    /// By ticket, and so by when they are due.
    waiting: BTreeMap<Ticket, Waiting>,
    answers: VecDeque<(Asker, Ticket, Outcome)>,
}

#[derive(Debug)]
struct Waiting {
    who: Who,
    /// When it is given up, by the inbox's clock.
    due: Duration,
}

/// When a question has had its time, by the inbox's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due(Duration);

/// The connection that asked, by its key in the worker and its id.
pub(crate) type Asker = (usize, u64);

#[derive(Debug)]
enum Who {
    Connection(Asker),
    Request(oneshot::Sender<Outcome>),
}

impl Inbox {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Arc<Self> {
        let state = State {
            last: 0,
            clock: Duration::ZERO,
            moved_at: Instant::now(),
            waiting: BTreeMap::new(),
            answers: VecDeque::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            promises: AtomicUsize::new(0),
            has_answers: AtomicBool::new(false),
            mailbox,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for a question of a connection, and the promise to answer it; `None` where too many wait.
    pub(crate) fn issue(self: &Arc<Self>, asker: Asker) -> Option<Promise> {
        self.issue_for(Who::Connection(asker))
    }

    /// The same for a request, which waits for the answer itself.
    pub(crate) fn issue_for_request(self: &Arc<Self>) -> Option<(Promise, Pending)> {
        let (sender, answer) = oneshot::channel();
        let promise = self.issue_for(Who::Request(sender))?;
        let pending = Pending::new(Arc::clone(self), promise.ticket(), answer);
        Some((promise, pending))
    }

    fn issue_for(self: &Arc<Self>, who: Who) -> Option<Promise> {
        let mut state = self.lock();
        let held = state.waiting.len().max(self.promises.load(Ordering::Relaxed));
        if held + state.answers.len() >= WAITING_MAX {
            return None;
        }
        self.promises.fetch_add(1, Ordering::Relaxed);
        state.last += 1;
        let ticket = Ticket(state.last);
        let due = state.clock + ANSWER_TIMEOUT;
        state.waiting.insert(ticket, Waiting { who, due });
        Some(Promise::new(Arc::clone(self), ticket))
    }

    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.lock();
        // Otherwise it was given up meanwhile, or its asker has gone.
        let Some(Waiting { who, .. }) = state.waiting.remove(&ticket) else { return };
        match who {
            Who::Connection(asker) => {
                state.answers.push_back((asker, ticket, outcome));
                self.has_answers.store(true, Ordering::Release);
                drop(state);
                self.mailbox.nudge();
            }
            Who::Request(sender) => drop(sender.send(outcome)),
        }
    }

    /// Nobody waits for that answer any more.
    pub(crate) fn forget(&self, ticket: Ticket) {
        self.lock().waiting.remove(&ticket);
    }

    /// The oldest answers that have come, at most `most`, in the order in which they came.
    pub(crate) fn take(&self, most: usize) -> Vec<(Asker, Ticket, Outcome)> {
        if !self.has_answers.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut state = self.lock();
        if state.answers.len() <= most {
            self.has_answers.store(false, Ordering::Relaxed);
            return std::mem::take(&mut state.answers).into();
        }
        state.answers.drain(..most).collect()
    }

    /// Whether answers are yet to be taken.
    pub(crate) fn has_answers(&self) -> bool {
        self.has_answers.load(Ordering::Acquire)
    }

    /// Moves the clock on, and gives up some of what has waited for too long.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = self.lock();
        let step = now.saturating_duration_since(state.moved_at).min(STEP_MAX);
        state.clock += step;
        state.moved_at = now;
        let clock = state.clock;
        drop(state);
        for _ in 0..EXPIRED_MAX {
            let state = self.lock();
            let late = state.waiting.first_key_value().filter(|(_, waiting)| waiting.due <= clock);
            let Some((&ticket, _)) = late else { return };
            drop(state);
            self.settle(ticket, Outcome::Refused(Refusal::Unanswered));
        }
    }

    /// When a question has had its time that is asked now for the first time.
    pub(crate) fn due(&self) -> Due {
        Due(self.lock().clock + ANSWER_TIMEOUT)
    }

    /// Whether a question that was due then has had its time.
    pub(crate) fn is_past(&self, Due(due): Due) -> bool {
        due <= self.lock().clock
    }

    /// How many questions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> Arc<Inbox> {
        Inbox::new(Arc::default())
    }

    fn refused(outcome: &Outcome) -> Option<Refusal> {
        match outcome {
            Outcome::Refused(why) => Some(*why),
            Outcome::AskAgain | Outcome::Published(_) => None,
        }
    }

    #[test]
    fn an_answer_comes_to_who_asked_once() {
        let inbox = inbox();
        let (first, second) = (inbox.issue((1, 10)).expect("room"), inbox.issue((2, 20)).expect("room"));
        let tickets = (first.ticket(), second.ticket());
        second.keep(Outcome::AskAgain);
        let answers = inbox.take(usize::MAX);
        assert!(matches!(&answers[..], [((2, 20), ticket, Outcome::AskAgain)] if *ticket == tickets.1));
        drop(first);
        let answers = inbox.take(usize::MAX);
        assert_eq!(refused(&answers[0].2), Some(Refusal::Unanswered), "whoever breaks a promise says so");
        assert!(inbox.take(usize::MAX).is_empty());
        assert_eq!(inbox.waiting(), 0);
    }

    #[test]
    fn what_has_no_answer_in_time_is_given_up_but_not_for_time_in_which_the_worker_stood_still() {
        let inbox = inbox();
        let began = Instant::now();
        let promise = inbox.issue((1, 10)).expect("room");
        let frozen = Duration::from_secs(3600);
        inbox.expire(began + frozen);
        // Asked right after that, and due in its turn.
        let later = inbox.issue((1, 10)).expect("room");
        let mut now = began + frozen;
        for _ in 0..40 {
            assert!(inbox.take(usize::MAX).is_empty(), "after {:?}", now - began - frozen);
            now += ANSWER_TIMEOUT / 50;
            inbox.expire(now);
        }
        for _ in 0..10 {
            now += ANSWER_TIMEOUT / 50;
            inbox.expire(now);
        }
        let answers = inbox.take(usize::MAX);
        let given_up: Vec<_> = answers.iter().map(|answer| (answer.1, refused(&answer.2))).collect();
        let unanswered = Some(Refusal::Unanswered);
        assert_eq!(given_up, [(promise.ticket(), unanswered), (later.ticket(), unanswered)]);
        promise.keep(Outcome::AskAgain);
        assert!(inbox.take(usize::MAX).is_empty(), "too late");
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_nothing_behind() {
        let inbox = inbox();
        let (promise, pending) = inbox.issue_for_request().expect("room");
        promise.keep(Outcome::AskAgain);
        assert!(matches!(pending.answer().await, Outcome::AskAgain));
        let (promise, pending) = inbox.issue_for_request().expect("room");
        drop(pending);
        assert_eq!(inbox.waiting(), 0);
        promise.keep(Outcome::AskAgain);
    }

    #[test]
    fn only_so_many_may_wait() {
        let inbox = inbox();
        let promises: Vec<_> = std::iter::from_fn(|| inbox.issue((1, 1))).collect();
        assert_eq!(promises.len(), WAITING_MAX);
        for promise in promises {
            promise.keep(Outcome::AskAgain);
        }
        assert!(inbox.issue((1, 1)).is_none(), "the answers are yet to be taken in");
        assert_eq!(inbox.take(usize::MAX).len(), WAITING_MAX);
        assert!(inbox.issue((1, 1)).is_some());
    }
}
