//! Topics that the broker would not have again for the moment.

use tokio::time::Instant;

use super::reconnect::Backoff;
use crate::deadline;
use crate::session::Session;

/// Asks again for topics that the broker would not have again for the moment.
pub(crate) struct Resubscribe {
    backoff: Backoff,
    due: Option<Instant>,
}

impl Resubscribe {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, due: None }
    }

    /// When to ask.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn plan(&mut self, session: &Session) {
        if session.is_refused_for_now() && self.due.is_none() {
            self.due = Some(deadline::after(self.backoff.next(rand::random())));
        }
    }

    pub(crate) fn run_if_due(&mut self, now: Instant, session: &mut Session) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            session.resubscribe();
        }
    }
}
