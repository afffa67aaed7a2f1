//! What a request asks, and how it waits where the answer comes later.

use std::sync::{Arc, Mutex, PoisonError};

use crate::answer::{Answer, Outcome, Refusal};
use crate::budget::Charge;
use crate::inbox::{Claim, Due, Inbox, Later, Pending, Promise};
use crate::operation::Denied;

/// A question of a request.
#[derive(Debug)]
pub(super) struct Question<'a> {
    inbox: &'a Arc<Inbox>,
    claim: Claim,
    pending: Mutex<Option<Pending>>,
}

impl<'a> Question<'a> {
    /// A question of somebody who is admitted.
    pub(super) fn new(inbox: &'a Arc<Inbox>) -> Self {
        Self::by(Claim::Admitted, inbox)
    }

    fn by(claim: Claim, inbox: &'a Arc<Inbox>) -> Self {
        Self { inbox, claim, pending: Mutex::default() }
    }

    /// A promise of a later answer, if another may be waited for.
    pub(super) fn promise(&self) -> Option<Promise> {
        self.promise_charged(None)
    }

    /// A promise of a later answer, charged for what the engine holds until then.
    pub(super) fn promise_charged(&self, charge: Option<Charge>) -> Option<Promise> {
        let (promise, pending) = self.inbox.issue_for_request(self.claim)?;
        let promise = match charge {
            Some(charge) => promise.charged(charge),
            None => promise,
        };
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
        Some(promise)
    }

    /// What was answered, or what is to be waited for.
    pub(super) fn answered<T>(self, answer: Answer<T>) -> Result<T, Pending> {
        match answer {
            Answer::Now(known) => Ok(known),
            Answer::Later(_) => {
                let pending = self.pending.into_inner().unwrap_or_else(PoisonError::into_inner);
                Err(pending.expect("who answers later has asked for a promise"))
            }
        }
    }
}

/// What is asked until it is known, however often: it has no more time than one answer.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    inbox: &'a Arc<Inbox>,
    claim: Claim,
    due: Due,
}

impl<'a> Asking<'a> {
    pub(super) fn new(claim: Claim, inbox: &'a Arc<Inbox>) -> Self {
        Self { inbox, claim, due: inbox.due() }
    }

    /// What is asked next.
    pub(super) fn question(&self) -> Question<'a> {
        Question::by(self.claim, self.inbox)
    }

    /// Whether to ask again after that answer.
    ///
    /// # Errors
    /// [`Denied`]: not again.
    pub(super) fn again(&self, outcome: Outcome) -> Result<(), Denied> {
        match outcome {
            Outcome::Refused(why) => Err(why.into()),
            _ if self.inbox.is_past(self.due) => Err(Refusal::Unanswered.into()),
            Outcome::AskAgain | Outcome::Published(_) => Ok(()),
        }
    }
}

/// Asks until it is known.
///
/// # Errors
/// [`Denied`]: it cannot be found out.
///
/// # Cancel safety
/// Nobody waits for an answer any more when the future is dropped.
pub(super) async fn known<T>(
    claim: Claim,
    inbox: &Arc<Inbox>,
    ask: impl Fn(Later<'_>) -> Answer<T> + Send,
) -> Result<T, Denied> {
    let asking = Asking::new(claim, inbox);
    loop {
        let question = asking.question();
        let answer = ask(&|| question.promise());
        match question.answered(answer) {
            Ok(known) => return Ok(known),
            Err(pending) => asking.again(pending.answer().await)?,
        }
    }
}
