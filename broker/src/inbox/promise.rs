//! Promises to answer.

use std::fmt;
use std::sync::Arc;

use super::Inbox;
use super::questions::Claim;
use crate::answer::{Outcome, Refusal, Ticket};
use crate::budget::Charge;

/// The promise to answer a question, on any thread. Dropped, it says that there will be no answer.
#[must_use = "whoever asked waits for the answer"]
pub struct Promise {
    /// Taken when it is kept.
    inbox: Option<Arc<Inbox>>,
    ticket: Ticket,
    claim: Claim,
    /// For what is held until then.
    charge: Option<Charge>,
}

impl Promise {
    pub(super) fn new(inbox: Arc<Inbox>, ticket: Ticket, claim: Claim) -> Self {
        Self { inbox: Some(inbox), ticket, claim, charge: None }
    }

    /// The same, and charged for what is held until it is kept or broken, whoever still waits.
    pub(crate) fn charged(mut self, charge: Charge) -> Self {
        self.charge = Some(charge);
        self
    }

    /// The ticket under which the answer is waited for.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Answers. Nobody may wait for it any more.
    pub fn keep(mut self, outcome: Outcome) {
        if let Some(inbox) = self.inbox.take() {
            inbox.redeem(self.ticket, self.claim, outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.redeem(self.ticket, self.claim, Outcome::Refused(Refusal::Unanswered));
        }
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise").field(&self.ticket).finish()
    }
}

/// Asks for a promise of a later answer; there is none where too many are waited for already.
pub type Later<'a> = &'a dyn Fn() -> Option<Promise>;
