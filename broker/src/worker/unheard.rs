//! Publications whose connections went away before they were answered. They are counted all the same.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::answer::Ticket;
use crate::hub::UnansweredPublish;

/// Publications to whose answers nobody listens any more, by ticket.
///
/// Invariant: each waits in the worker's inbox, which bounds them and gives up what is not answered in time.
#[derive(Debug, Default)]
pub(crate) struct Unheard(RefCell<HashMap<Ticket, UnansweredPublish>>);

impl Unheard {
    pub(crate) fn add(&self, ticket: Ticket, asked: UnansweredPublish) {
        self.0.borrow_mut().insert(ticket, asked);
    }

    /// What is to be counted of that one, which is answered.
    pub(super) fn take(&self, ticket: Ticket) -> Option<UnansweredPublish> {
        let mut unheard = self.0.borrow_mut();
        let asked = unheard.remove(&ticket)?;
        if unheard.is_empty() {
            // A crowd that has gone leaves no capacity behind.
            *unheard = HashMap::new();
        }
        Some(asked)
    }
}
