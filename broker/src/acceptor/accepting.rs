//! Which worker accepts.

use tokio::sync::watch;

/// The worker that accepts the sockets of all, by its index: one does at a time, and any other can be made to.
#[derive(Debug)]
pub(crate) struct Accepting(watch::Sender<usize>);

impl Default for Accepting {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Accepting {
    pub(crate) fn worker(&self) -> usize {
        *self.0.borrow()
    }

    /// Has that worker accept from now on. The one before has nothing to do for it, for it may hang.
    pub(crate) fn pass_to(&self, worker: usize) {
        self.0.send_replace(worker);
    }

    /// Waits until that worker is to accept.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn turn_of(&self, worker: usize) {
        // It does not fail while the sender is there, which is here.
        drop(self.0.subscribe().wait_for(|accepting| *accepting == worker).await);
    }
}
