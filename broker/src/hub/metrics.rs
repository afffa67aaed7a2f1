//! What the hub counts: publications, whatever their door, what is on its way, and whether the broker stops.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::budget::Budget;
use crate::metrics::Registry;
use crate::namespaces::Namespaces;
use crate::source::Source;
use crate::topic::Accepted;

/// A publication that is to be counted when it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnansweredPublish {
    pub(crate) namespace: usize,
    pub(crate) source: Source,
    pub(crate) received: Instant,
}

/// What the hub counts.
#[derive(Debug)]
pub(super) struct HubMetrics {
    /// Publications that were published, by namespace and source.
    published: Vec<[IntCounter; Source::ALL.len()]>,
    publish_duration: [Histogram; Source::ALL.len()],
    publish_errors: IntCounterVec,
    draining: IntGauge,
}

impl HubMetrics {
    pub(super) fn new(registry: &Registry, namespaces: &Namespaces, in_flight: &Arc<Budget>) -> Self {
        let in_flight = Arc::clone(in_flight);
        registry.read_gauges(
            "fanfare_in_flight_bytes",
            "Bytes on their way in or out, as the budget memory.in_flight counts them.",
            &[],
            move |add| add(&[], in_flight.used() as f64),
        );
        let published = registry.counters(
            "fanfare_messages_published_total",
            "Publications accepted, duplicates included.",
            &["namespace", "source"],
        );
        let publish_duration = registry.histograms(
            "fanfare_publish_duration_seconds",
            "From receiving a publication to having it in its topic.",
            &["source"],
        );
        let of_namespace =
            |name: &str| Source::ALL.map(|source| published.with_label_values(&[name, source.name()]));
        Self {
            published: namespaces.iter().map(|namespace| of_namespace(&namespace.name)).collect(),
            publish_duration: Source::ALL.map(|source| publish_duration.with_label_values(&[source.name()])),
            publish_errors: registry.counters(
                "fanfare_publish_errors_total",
                "Publications refused.",
                &["reason"],
            ),
            draining: registry.gauge("fanfare_draining", "1 while the broker stops, else 0."),
        }
    }

    /// What became of a publication.
    pub(super) fn published(&self, asked: UnansweredPublish, result: &Result<Accepted, Refusal>) {
        let UnansweredPublish { namespace, source, received } = asked;
        match result {
            Ok(_) => {
                self.published[namespace][source as usize].inc();
                self.publish_duration[source as usize].observe(received.elapsed().as_secs_f64());
            }
            Err(refusal) => self.publish_errors.with_label_values(&[refusal.code().as_str()]).inc(),
        }
    }

    pub(super) fn draining(&self) {
        self.draining.set(1);
    }
}
