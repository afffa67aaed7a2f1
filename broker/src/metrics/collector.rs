//! Sums the workers' counters when somebody scrapes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use super::worker_stats::Wait;
use super::{LOG_LINES_DROPPED, WorkerStats};
use crate::budget::Budget;
use crate::encoding::Encoding;
use crate::heartbeat::Heartbeat;

/// Reads every worker's counters.
pub(super) struct WorkersCollector {
    pub(super) stats: Vec<Arc<WorkerStats>>,
    pub(super) heartbeats: Vec<Arc<Heartbeat>>,
    pub(super) namespaces: Vec<String>,
    pub(super) retained: Arc<Budget>,
    pub(super) in_flight: Arc<Budget>,
}

/// A fresh vector for each scrape: it is filled, read and dropped.
struct Fresh {
    delivered: IntCounterVec,
    subscriptions: IntGaugeVec,
    connections: IntGaugeVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    queued: IntGaugeVec,
    behind: IntGaugeVec,
    retained: IntGaugeVec,
    in_flight: IntGaugeVec,
    rounds: CounterVec,
    held_up: CounterVec,
    blocked_max: GaugeVec,
    heartbeat_age: GaugeVec,
    log_dropped: IntCounterVec,
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
            behind: gauges(
                "fanfare_subscriptions_behind",
                "Subscriptions that catch up by themselves now, out of step with their topics.",
                &[],
            )?,
            queued: gauges("fanfare_write_queue_bytes", "Bytes that wait for sockets to take them.", &[])?,
            retained: gauges(
                "fanfare_retained_bytes",
                "Bytes of publications and message ids alive, as the budget memory.retained counts them.",
                &[],
            )?,
            in_flight: gauges(
                "fanfare_in_flight_bytes",
                "Bytes on their way in or out, as the budget memory.in_flight counts them.",
                &[],
            )?,
            rounds: CounterVec::new(
                Opts::new("fanfare_worker_round_seconds_total", "Time that a worker spent delivering."),
                &["worker"],
            )?,
            held_up: CounterVec::new(
                Opts::new(
                    "fanfare_held_up_seconds_total",
                    "Time that connections waited for their turn, or for credit to publish.",
                ),
                &["wait"],
            )?,
            blocked_max: GaugeVec::new(
                Opts::new(
                    "fanfare_blocked_max_seconds",
                    "For how long the socket has taken nothing that has done so for the longest time.",
                ),
                &["worker"],
            )?,
            heartbeat_age: GaugeVec::new(
                Opts::new(
                    "fanfare_worker_heartbeat_age_seconds",
                    "How long ago a worker last said that it runs.",
                ),
                &["worker"],
            )?,
            log_dropped: counters(
                "fanfare_log_lines_dropped_total",
                "Log lines that could not be written, or not as fast as they came.",
                &[],
            )?,
        })
    }

    fn collectors(&self) -> [&dyn Collector; 14] {
        [
            &self.delivered,
            &self.subscriptions,
            &self.connections,
            &self.received,
            &self.sent,
            &self.queued,
            &self.behind,
            &self.retained,
            &self.in_flight,
            &self.rounds,
            &self.held_up,
            &self.blocked_max,
            &self.heartbeat_age,
            &self.log_dropped,
        ]
    }
}

impl WorkersCollector {
    fn read(&self, into: &Fresh) {
        for (worker, stats) in self.stats.iter().enumerate() {
            for (index, namespace) in self.namespaces.iter().enumerate() {
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
            into.behind.with_label_values(none).add(stats.behind.load(Ordering::Relaxed));
            into.queued.with_label_values(none).add(stats.write_queue_bytes.load(Ordering::Relaxed));
            let seconds = load(&stats.round_ns) as f64 / 1e9;
            let name = worker.to_string();
            into.rounds.with_label_values(&[name.as_str()]).inc_by(seconds);
            for wait in Wait::ALL {
                let seconds = load(&stats.held_up_us[wait as usize]) as f64 / 1e6;
                into.held_up.with_label_values(&[wait.name()]).inc_by(seconds);
            }
            let blocked = load(&stats.blocked_max_ms) as f64 / 1e3;
            into.blocked_max.with_label_values(&[name.as_str()]).set(blocked);
            let age = self.heartbeats[worker].age();
            into.heartbeat_age.with_label_values(&[name.as_str()]).set(age.as_secs_f64());
        }
        let none: &[&str] = &[];
        into.retained.with_label_values(none).set(self.retained.used() as i64);
        into.in_flight.with_label_values(none).set(self.in_flight.used() as i64);
        into.log_dropped.with_label_values(none).inc_by(LOG_LINES_DROPPED.load(Ordering::Relaxed));
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
