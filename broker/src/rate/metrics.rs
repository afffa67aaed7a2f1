//! What is refused for its rate, by what it was and over whom it is counted: never by whose it was.

use prometheus::IntCounter;

use super::kind::{Kind, Scope};
use crate::metrics::Registry;

/// What is refused, and which buckets were given up.
#[derive(Debug)]
pub(crate) struct RateMetrics {
    refused: [[IntCounter; Scope::ALL.len()]; Kind::ALL.len()],
    /// Buckets that were forgotten before they were full.
    evicted: IntCounter,
}

impl RateMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let refused = registry.counters(
            "fanfare_rate_limited_total",
            "Operations refused because a peer asked for too many.",
            &["operation", "scope"],
        );
        Self {
            refused: Kind::ALL
                .map(|kind| Scope::ALL.map(|scope| refused.with_label_values(&[kind.name(), scope.name()]))),
            evicted: registry
                .counters(
                    "fanfare_rate_buckets_evicted_total",
                    "Buckets of addresses, tokens and users given up before they were full, for want of room.",
                    &[],
                )
                .with_label_values::<&str>(&[]),
        }
    }

    pub(crate) fn evicted(&self, count: usize) {
        if count > 0 {
            self.evicted.inc_by(count as u64);
        }
    }

    pub(crate) fn refused(&self, kind: Kind, scope: Scope) {
        self.refused[kind as usize][scope as usize].inc();
    }
}
