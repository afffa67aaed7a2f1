//! What connections count, over all workers; what they count for each delivery is the worker's (`workers/stats.rs`).

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec};

use crate::encoding::Encoding;
use crate::metrics::Registry;
use crate::namespaces::Namespaces;

/// What connections count.
#[derive(Debug)]
pub(crate) struct ConnectionMetrics {
    opened: [IntCounter; Encoding::ALL.len()],
    closed: IntCounterVec,
    slow_consumers: IntCounterVec,
    /// Publications that were dropped, by namespace.
    dropped: Vec<IntCounter>,
    recoveries: IntCounterVec,
    fanout: Histogram,
}

impl ConnectionMetrics {
    pub(crate) fn new(registry: &Registry, namespaces: &Namespaces) -> Arc<Self> {
        let opened = registry.counters(
            "fanfare_connections_opened_total",
            "WebSockets opened.",
            &["transport", "protocol"],
        );
        let dropped = registry.counters(
            "fanfare_messages_dropped_total",
            "Publications that a subscriber missed and was told of.",
            &["namespace", "reason"],
        );
        let of_namespace = |name: &str| dropped.with_label_values(&[name, "slow_consumer"]);
        Arc::new(Self {
            opened: Encoding::ALL.map(|encoding| opened.with_label_values(&["websocket", encoding.name()])),
            closed: registry.counters("fanfare_connections_closed_total", "WebSockets closed.", &["reason"]),
            slow_consumers: registry.counters(
                "fanfare_slow_consumers_total",
                "Subscriptions that fell behind what their topic keeps, by what was done.",
                &["action"],
            ),
            dropped: namespaces.iter().map(|namespace| of_namespace(&namespace.name)).collect(),
            recoveries: registry.counters(
                "fanfare_recoveries_total",
                "Subscriptions that asked to continue from a position, by what became of it.",
                &["namespace", "result"],
            ),
            fanout: registry.histogram(
                "fanfare_fanout_duration_seconds",
                "From accepting a publication to having written it to the sockets of one worker.",
            ),
        })
    }

    pub(super) fn opened(&self, encoding: Encoding) {
        self.opened[encoding as usize].inc();
    }

    pub(super) fn closed(&self, reason: &'static str) {
        self.closed.with_label_values(&[reason]).inc();
    }

    pub(super) fn slow_consumer(&self, namespace: usize, action: &'static str, missed: u64) {
        self.slow_consumers.with_label_values(&[action]).inc();
        self.dropped[namespace].inc_by(missed);
    }

    pub(super) fn recovery(&self, namespace: &str, result: &'static str) {
        self.recoveries.with_label_values(&[namespace, result]).inc();
    }

    /// The oldest publication of what was written had been accepted so long before.
    pub(crate) fn fanout(&self, took: Duration) {
        self.fanout.observe(took.as_secs_f64());
    }
}
