//! What a request asks, and how it waits where the answer comes later.

use std::sync::{Arc, Mutex, PoisonError};

use crate::answer::{Answer, Outcome, Refusal};
use crate::budget::Budget;
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
        let (promise, pending) = self.inbox.issue_for_request(self.claim)?;
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
        Some(promise)
    }

    /// A promise of a later answer, if the budget has something left for the `bytes` that the engine holds until then.
    pub(super) fn promise_charged(&self, budget: &Arc<Budget>, bytes: usize) -> Option<Promise> {
        if budget.is_over() {
            return None;
        }
        Some(self.promise()?.charged(budget.charge(bytes)))
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

/// What is asked until it is known, however often: from the first question on it has no more time than one answer.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    inbox: &'a Arc<Inbox>,
    claim: Claim,
    /// Known since the first question.
    due: Option<Due>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(claim: Claim, inbox: &'a Arc<Inbox>) -> Self {
        Self { inbox, claim, due: None }
    }

    /// What is asked next.
    pub(super) fn question(&mut self) -> Question<'a> {
        self.due.get_or_insert_with(|| self.inbox.due());
        Question::by(self.claim, self.inbox)
    }

    /// Whether to ask again after that answer.
    ///
    /// # Errors
    /// [`Denied`]: not again.
    pub(super) fn again(&self, outcome: Outcome) -> Result<(), Denied> {
        match outcome {
            Outcome::Refused(why) => Err(why.into()),
            _ if self.due.is_some_and(|due| self.inbox.is_past(due)) => Err(Refusal::Unanswered.into()),
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
    let mut asking = Asking::new(claim, inbox);
    loop {
        let question = asking.question();
        let answer = ask(&|| question.promise());
        match question.answered(answer) {
            Ok(known) => return Ok(known),
            Err(pending) => asking.again(pending.answer().await)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn what_is_asked_has_its_time_from_the_first_question_on() {
        let inbox = Inbox::new();
        let began = Instant::now();
        let pass = |seconds: std::ops::Range<u64>| {
            seconds.for_each(|second| inbox.expire(began + Duration::from_secs(second)));
        };
        let mut asking = Asking::new(Claim::Admitted, &inbox);
        pass(1..20);
        drop(asking.question());
        assert_eq!(asking.again(Outcome::AskAgain), Ok(()), "it stood in line until now");
        pass(20..40);
        drop(asking.question());
        assert!(asking.again(Outcome::AskAgain).is_err(), "asking again gives it no more time");
    }
}
