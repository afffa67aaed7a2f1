//! The questions of one worker that wait for their answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::{Outcome, Ticket};

/// Questions that may wait of those who are admitted.
pub(super) const WAITING_MAX: usize = 64 * 1024;
/// And of those who wait to be known.
pub(super) const STRANGERS_WAITING_MAX: usize = 8 * 1024;
/// Both together.
pub(super) const CLAIMS_MAX: usize = WAITING_MAX + STRANGERS_WAITING_MAX;
/// An answer that has not come after so long is waited for no longer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// By more than this the clock is not moved on at once: then the worker did not run.
const STEP_MAX: Duration = Duration::from_secs(1);

/// What a question waits by: strangers, of whom it is asked who they are, take nothing from those who are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Admitted,
    Stranger,
}

impl Claim {
    const fn waiting_max(self) -> usize {
        match self {
            Self::Admitted => WAITING_MAX,
            Self::Stranger => STRANGERS_WAITING_MAX,
        }
    }
}

/// The connection that asked, by its key in the worker and its id.
pub(crate) type Asker = (usize, u64);

/// When a question has had its time, by the clock of its worker's inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due(Duration);

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Who {
    Connection(Asker),
    Request(oneshot::Sender<Outcome>),
}

/// A question that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) who: Who,
    pub(super) claim: Claim,
    due: Due,
}

/// The questions. Each has a ticket, and there are as many tickets of a claim at most as it has.
#[derive(Debug)]
pub(super) struct Questions {
    state: Mutex<State>,
    /// By claim, promises that are neither kept nor broken: whoever gave them holds something for each.
    promises: [AtomicUsize; 2],
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
    /// By claim. Invariant: questions that wait, and answers to connections that are yet to be taken in.
    tickets: [usize; 2],
}

impl Questions {
    pub(super) fn new() -> Self {
        let state = State {
            last: 0,
            clock: Duration::ZERO,
            moved_at: Instant::now(),
            waiting: BTreeMap::new(),
            tickets: [0; 2],
        };
        Self { state: Mutex::new(state), promises: Default::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for a question, for which there is a promise from now on; `None` where too many wait.
    pub(super) fn issue(&self, who: Who, claim: Claim) -> Option<Ticket> {
        let (mut state, promises) = (self.lock(), &self.promises[claim as usize]);
        if state.tickets[claim as usize].max(promises.load(Ordering::Relaxed)) >= claim.waiting_max() {
            return None;
        }
        promises.fetch_add(1, Ordering::Relaxed);
        state.tickets[claim as usize] += 1;
        state.last += 1;
        let (ticket, due) = (Ticket(state.last), Due(state.clock + ANSWER_TIMEOUT));
        state.waiting.insert(ticket, Waiting { who, claim, due });
        Some(ticket)
    }

    /// A promise is kept or broken.
    pub(super) fn redeem(&self, claim: Claim) {
        self.promises[claim as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Whose that ticket is, if it still waits: it does not from now on. Where it is a connection's, the ticket is in use
    /// until the answer is [taken in](Self::taken).
    pub(super) fn settle(&self, ticket: Ticket) -> Option<Waiting> {
        let mut state = self.lock();
        let waiting = state.waiting.remove(&ticket)?;
        if let Who::Request(_) = waiting.who {
            state.tickets[waiting.claim as usize] -= 1;
        }
        Some(waiting)
    }

    /// The worker has taken in answers to so many questions, by claim.
    pub(super) fn taken(&self, counts: [usize; 2]) {
        let mut state = self.lock();
        for (tickets, count) in state.tickets.iter_mut().zip(counts) {
            *tickets -= count;
        }
    }

    /// Nobody waits for that answer any more.
    pub(super) fn forget(&self, ticket: Ticket) {
        let mut state = self.lock();
        if let Some(Waiting { claim, .. }) = state.waiting.remove(&ticket) {
            state.tickets[claim as usize] -= 1;
        }
    }

    /// Moves the clock on.
    pub(super) fn move_on(&self, now: Instant) {
        let state = &mut *self.lock();
        state.clock += now.saturating_duration_since(state.moved_at).min(STEP_MAX);
        state.moved_at = now;
    }

    /// A question that has waited for too long.
    pub(super) fn late(&self) -> Option<Ticket> {
        let state = self.lock();
        let (&ticket, oldest) = state.waiting.first_key_value()?;
        (oldest.due <= Due(state.clock)).then_some(ticket)
    }

    /// When a question has had its time that is asked now for the first time.
    pub(super) fn due(&self) -> Due {
        Due(self.lock().clock + ANSWER_TIMEOUT)
    }

    /// Whether a question that was due then has had its time.
    pub(super) fn is_past(&self, due: Due) -> bool {
        due <= Due(self.lock().clock)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}
