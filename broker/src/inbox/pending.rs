//! What a request waits for.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Inbox;
use crate::answer::{Outcome, Refusal, Ticket};

/// A request's question. Dropped, nobody waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    inbox: Arc<Inbox>,
    ticket: Ticket,
    answer: oneshot::Receiver<Outcome>,
}

impl Pending {
    pub(super) fn new(inbox: Arc<Inbox>, ticket: Ticket, answer: oneshot::Receiver<Outcome>) -> Self {
        Self { inbox, ticket, answer }
    }

    /// The answer.
    ///
    /// # Cancel safety
    /// Nobody waits for the answer any more when the future is dropped.
    pub(crate) async fn answer(mut self) -> Outcome {
        (&mut self.answer).await.unwrap_or(Outcome::Refused(Refusal::Unanswered))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.inbox.forget(self.ticket);
    }
}
