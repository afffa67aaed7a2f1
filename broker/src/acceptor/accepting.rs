//! Which worker accepts.

use tokio::sync::watch;

use crate::workers::Workers;

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

    /// To be called after each look at the heartbeats: where the worker that accepts does not run another is to, and one
    /// before it again when it has run for long enough. Light load lives on the first workers, so whoever comes after
    /// them would hand over nearly all that it accepts.
    pub(crate) fn follow(&self, workers: &Workers) {
        let now = self.worker();
        let is_late = |worker: usize| workers[worker].heartbeat.is_late();
        if !is_late(now) {
            if let Some(first) = (0..now).find(|&worker| workers[worker].heartbeat.is_steady()) {
                tracing::info!(worker = first, "a worker that did not run accepts again");
                self.pass_to(first);
            }
        } else if let Some(other) = (0..workers.len()).find(|&worker| !is_late(worker)) {
            tracing::warn!(worker = now, other, "the worker that accepts does not run; another one accepts");
            self.pass_to(other);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::Namespaces;

    #[test]
    fn another_accepts_for_one_that_does_not_run_until_that_has_run_for_a_while() {
        let workers = Workers::new(3, &Namespaces::new(&Default::default()));
        let accepting = Accepting::default();
        // Which of them run, for so many looks, and who accepts then.
        let look = |running: [bool; 3], looks: u32| {
            for _ in 0..looks {
                workers.iter().zip(running).for_each(|(worker, runs)| worker.heartbeat.look_often(1, runs));
                accepting.follow(&workers);
            }
            accepting.worker()
        };
        assert_eq!(look([true; 3], 100), 0);
        assert_eq!(look([false, true, true], 3), 0, "it may only be busy");
        assert_eq!(look([false, true, true], 1), 1);
        assert_eq!(look([true; 3], 10), 1, "it may stop again");
        assert_eq!(look([false, true, true], 1), 1);
        assert_eq!(look([true; 3], 19), 1);
        assert_eq!(look([true; 3], 1), 0);
        assert_eq!(look([false; 3], 100), 0, "nobody runs who could");
        assert_eq!(look([false, false, true], 1), 2);
        assert_eq!(look([false, true, true], 20), 1, "the first that can");
    }
}
