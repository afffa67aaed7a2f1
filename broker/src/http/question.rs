//! What a request asks, and how it waits where the answer comes later.

use std::sync::{Arc, Mutex, PoisonError};

use crate::answer::{Answer, Outcome};
use crate::budget::Charge;
use crate::inbox::{Inbox, Later, Pending, Promise};
use crate::operation::Denied;

/// A question of a request.
#[derive(Debug)]
pub(super) struct Question<'a> {
    inbox: &'a Arc<Inbox>,
    pending: Mutex<Option<Pending>>,
}

impl<'a> Question<'a> {
    pub(super) fn new(inbox: &'a Arc<Inbox>) -> Self {
        Self { inbox, pending: Mutex::default() }
    }

    /// A promise of a later answer, if another may be waited for.
    pub(super) fn promise(&self) -> Option<Promise> {
        self.promise_charged(None)
    }

    /// Likewise, charged for what the engine holds until then.
    pub(super) fn promise_charged(&self, charge: Option<Charge>) -> Option<Promise> {
        let (promise, pending) = self.inbox.issue_for_request()?;
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

/// Whether to ask again after that answer.
///
/// # Errors
/// [`Denied`]: not again.
pub(super) fn ask_again(outcome: Outcome) -> Result<(), Denied> {
    match outcome {
        Outcome::AskAgain | Outcome::Published(_) => Ok(()),
        Outcome::Refused(why) => Err(why.into()),
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
    inbox: &Arc<Inbox>,
    ask: impl Fn(Later<'_>) -> Answer<T> + Send,
) -> Result<T, Denied> {
    loop {
        let question = Question::new(inbox);
        let answer = ask(&|| question.promise());
        match question.answered(answer) {
            Ok(known) => return Ok(known),
            Err(pending) => ask_again(pending.answer().await)?,
        }
    }
}
