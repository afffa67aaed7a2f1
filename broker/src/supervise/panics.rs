//! Tasks that ended by a panic, counted.

use prometheus::IntCounterVec;

use crate::metrics::Registry;

/// Counts tasks that ended by a panic.
#[derive(Debug)]
pub(crate) struct Panics(IntCounterVec);

impl Panics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self(registry.counters(
            "fanfare_task_panics_total",
            "Tasks that ended by a panic: a fault in the broker.",
            &["task"],
        ))
    }

    /// `task` is one of a few names.
    pub(crate) fn count(&self, task: &'static str) {
        self.0.with_label_values(&[task]).inc();
    }
}
