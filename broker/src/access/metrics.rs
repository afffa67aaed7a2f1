//! What access counts.

use prometheus::{IntCounterVec, Opts};

use crate::metrics::Registry;

/// Counts what was refused, by operation. All grants count in the same, which are there before there is a registry.
#[derive(Debug, Clone)]
pub(super) struct RefusalCounter(IntCounterVec);

impl Default for RefusalCounter {
    fn default() -> Self {
        let opts = Opts::new("fanfare_access_refused_total", "Operations refused for want of a right.");
        Self(IntCounterVec::new(opts, &["operation"]).expect("the name and the labels are literals"))
    }
}

impl RefusalCounter {
    pub(super) fn register(&self, registry: &Registry) {
        registry.enter(self.0.clone());
    }

    pub(super) fn count(&self, operation: &str) {
        self.0.with_label_values(&[operation]).inc();
    }
}
