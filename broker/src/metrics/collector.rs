//! Sums the workers' counters when somebody scrapes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntCounterVec, IntGaugeVec, Opts};

use super::WorkerStats;
use crate::budget::Budget;
use crate::namespaces::Namespace;
use crate::topic::publication::Encoding;

/// Reads every worker's counters.
pub(super) struct WorkersCollector {
    workers: Vec<Arc<WorkerStats>>,
    namespaces: Vec<Arc<Namespace>>,
    budget: Arc<Budget>,
}

/// A fresh vector for each scrape: it is filled, read and dropped.
struct Fresh {
    delivered: IntCounterVec,
    subscriptions: IntGaugeVec,
    connections: IntGaugeVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    queued: IntGaugeVec,
    retained: IntGaugeVec,
    ids_evicted: IntCounterVec,
    rounds: CounterVec,
}

impl Fresh {
    fn new() -> prometheus::Result<Self> {
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauges = |name, help, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        Ok(Self {
            delivered: counters(
                "fanfare_messages_delivered_total",
                "Publications handed to connections.",
                &["namespace", "protocol"],
            )?,
            subscriptions: gauges("fanfare_subscriptions", "Subscriptions now.", &["namespace"])?,
            connections: gauges("fanfare_connections", "WebSockets open now.", &["transport", "protocol"])?,
            received: counters("fanfare_received_bytes_total", "Bytes read from sockets.", &["transport"])?,
            sent: counters("fanfare_sent_bytes_total", "Bytes written to sockets.", &["transport"])?,
            queued: gauges("fanfare_write_queue_bytes", "Bytes that wait for sockets to take them.", &[])?,
            retained: gauges(
                "fanfare_retained_bytes",
                "Bytes of publications alive, as the budget memory.retained counts them.",
                &[],
            )?,
            ids_evicted: counters(
                "fanfare_message_ids_evicted_total",
                "Message ids forgotten before duplicate_window was over.",
                &["namespace"],
            )?,
            rounds: CounterVec::new(
                Opts::new("fanfare_worker_round_seconds_total", "Time that a worker spent delivering."),
                &["worker"],
            )?,
        })
    }

    fn collectors(&self) -> [&dyn Collector; 9] {
        [
            &self.delivered,
            &self.subscriptions,
            &self.connections,
            &self.received,
            &self.sent,
            &self.queued,
            &self.retained,
            &self.ids_evicted,
            &self.rounds,
        ]
    }
}

impl WorkersCollector {
    pub(super) fn new(
        workers: Vec<Arc<WorkerStats>>,
        namespaces: Vec<Arc<Namespace>>,
        budget: Arc<Budget>,
    ) -> Self {
        Self { workers, namespaces, budget }
    }

    fn read(&self, into: &Fresh) {
        for (worker, stats) in self.workers.iter().enumerate() {
            for (index, namespace) in self.namespaces.iter().enumerate() {
                let namespace = namespace.name.as_str();
                into.subscriptions.with_label_values(&[namespace]).add(stats.subscriptions_now(index));
                for encoding in Encoding::ALL {
                    into.delivered
                        .with_label_values(&[namespace, encoding.name()])
                        .inc_by(stats.delivered_now(index, encoding));
                }
            }
            for encoding in Encoding::ALL {
                into.connections
                    .with_label_values(&["websocket", encoding.name()])
                    .add(stats.connections_now(encoding));
            }
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            into.received.with_label_values(&["websocket"]).inc_by(load(&stats.received_bytes));
            into.sent.with_label_values(&["websocket"]).inc_by(load(&stats.sent_bytes));
            let none: &[&str] = &[];
            into.queued.with_label_values(none).add(stats.write_queue_bytes.load(Ordering::Relaxed));
            let seconds = load(&stats.round_ns) as f64 / 1e9;
            into.rounds.with_label_values(&[worker.to_string().as_str()]).inc_by(seconds);
        }
        for namespace in &self.namespaces {
            let evicted = into.ids_evicted.with_label_values(&[namespace.name.as_str()]);
            evicted.inc_by(namespace.ids_evicted());
        }
        let none: &[&str] = &[];
        into.retained.with_label_values(none).set(self.budget.used() as i64);
    }
}

impl Collector for WorkersCollector {
    fn desc(&self) -> Vec<&Desc> {
        // Only checked for names registered twice; these are made anew for each scrape.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let fresh = Fresh::new().expect("the names and the labels are literals");
        self.read(&fresh);
        fresh.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}
