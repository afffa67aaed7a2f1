//! A thread that does one thing after the other, as fast as the broker lets it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::plan::Plan;
use crate::machine::thread::{Counter, Phase};

/// What a thread needs to know to do its work.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) plan: Arc<Plan>,
    /// Which of the plan's threads this is.
    pub(crate) thread: u32,
    /// How many things it has done.
    pub(crate) done: Counter,
    /// Set to 1 when it is ready to begin.
    pub(crate) ready: Counter,
    /// Work begins with [`Phase::Running`], counts during [`Phase::Measuring`] and ends soon after it.
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Worker {
    /// Whether what is done now counts.
    pub(crate) fn counts(&self) -> bool {
        *self.phase.borrow() == Phase::Measuring
    }

    /// Whether it is time to end.
    pub(crate) fn is_over(&self) -> bool {
        *self.phase.borrow() > Phase::Measuring
    }

    /// Returns when it has been over for so long.
    pub(crate) async fn over_for(&self, time: Duration) {
        self.phase.clone().wait_for(|phase| *phase > Phase::Measuring).await.ok();
        sleep(time).await;
    }

    /// Returns when work may begin.
    pub(crate) async fn begin(&self) {
        self.ready.set(1);
        // Nobody drives the run any more: `is_over` would not say so, but the thread is given up.
        self.phase.clone().wait_for(|phase| *phase > Phase::Connecting).await.ok();
    }
}
