//! Counters, and how Prometheus reads them.
//!
//! What happens per delivery is counted in each worker's own [`WorkerStats`] and summed when somebody
//! scrapes; the rest uses the `prometheus` types directly. A scrape costs as much as there are series,
//! never as much as there are connections or topics.
//!
//! They must not know who counts, nor have a topic, a user or a payload in a label.

mod kept;
mod scraped;
mod worker_stats;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use fanfare_protocol::ErrorCode;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::access::Access;
use crate::budget::Budget;
use crate::encoding::Encoding;
use crate::heartbeat::Heartbeat;
use crate::namespaces::Namespaces;
use crate::route::Route;
use scraped::{Add, Kind, Scraped};
pub(crate) use worker_stats::Wait;
pub use worker_stats::WorkerStats;

/// Buckets of durations, in seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Lines that the log of this process dropped because it could not write them, or not as fast as they came: counted
/// by whoever writes the log.
pub static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// How a publication came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The HTTP API.
    Http,
    /// A raw WebSocket.
    Raw,
    /// A native WebSocket.
    WebSocket,
}

impl Source {
    const ALL: [Self; 3] = [Self::Http, Self::Raw, Self::WebSocket];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Raw => "raw",
            Self::WebSocket => "websocket",
        }
    }
}

/// Every counter of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    published: Vec<[IntCounter; Source::ALL.len()]>,
    publish_duration: [Histogram; Source::ALL.len()],
    publish_errors: IntCounterVec,
    opened: [IntCounter; Encoding::ALL.len()],
    closed: IntCounterVec,
    rejected: IntCounterVec,
    slow_consumers: IntCounterVec,
    dropped: Vec<IntCounter>,
    recoveries: IntCounterVec,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    http_routes: [HttpRoute; Route::COUNT],
    draining: IntGauge,
    task_panics: IntCounterVec,
    /// From accepting a publication to having written it to the sockets of one worker.
    pub fanout: Histogram,
    workers: Vec<Arc<WorkerStats>>,
}

/// What a route counts most often, looked up once.
#[derive(Debug, Default)]
struct HttpRoute {
    good_gets: OnceLock<IntCounter>,
    good_posts: OnceLock<IntCounter>,
    duration: OnceLock<Histogram>,
}

/// Registers metrics whose names and labels are known to be good.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, collector: prometheus::Result<C>) -> C {
        let collector = collector.expect("the name and the labels are literals");
        self.0.register(Box::new(collector.clone())).expect("each name is registered once");
        collector
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }

    /// Counters that somebody else keeps: `read` adds to each when somebody scrapes.
    fn read_counters<R>(&self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn(&mut Add<'_>) + Send + Sync + 'static,
    {
        self.read(Scraped::new(Kind::Counter, name, help, labels, read));
    }

    /// The same with gauges.
    fn read_gauges<R>(&self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn(&mut Add<'_>) + Send + Sync + 'static,
    {
        self.read(Scraped::new(Kind::Gauge, name, help, labels, read));
    }

    fn read<C: prometheus::core::Collector + 'static>(&self, collector: prometheus::Result<C>) {
        let collector = collector.expect("the name and the labels are literals");
        self.0.register(Box::new(collector)).expect("each name is registered once");
    }
}

/// Has it read when somebody scrapes how the workers are, what is on its way, and what the log dropped.
fn register_beside(register: &Register<'_>, heartbeats: Vec<Arc<Heartbeat>>, in_flight: &Arc<Budget>) {
    let in_flight = Arc::clone(in_flight);
    register.read_gauges(
        "fanfare_in_flight_bytes",
        "Bytes on their way in or out, as the budget memory.in_flight counts them.",
        &[],
        move |add| add(&[], in_flight.used() as f64),
    );
    register.read_gauges(
        "fanfare_worker_heartbeat_age_seconds",
        "How long ago a worker last said that it runs.",
        &["worker"],
        move |add| {
            for (worker, heartbeat) in heartbeats.iter().enumerate() {
                add(&[&worker.to_string()], heartbeat.age().as_secs_f64());
            }
        },
    );
    register.read_counters(
        "fanfare_log_lines_dropped_total",
        "Log lines that could not be written, or not as fast as they came.",
        &[],
        |add| add(&[], LOG_LINES_DROPPED.load(Ordering::Relaxed) as f64),
    );
}

/// A publication that is to be counted when it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) namespace: usize,
    pub(crate) source: Source,
    pub(crate) received: tokio::time::Instant,
}

impl Metrics {
    pub(crate) fn new(
        namespaces: &Namespaces,
        access: &Access,
        heartbeats: Vec<Arc<Heartbeat>>,
        retained: &Arc<Budget>,
        in_flight: &Arc<Budget>,
    ) -> Arc<Self> {
        let registry = Registry::new();
        let register = Register(&registry);
        let build = register.gauges("fanfare_build_info", "The version that runs; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let names: Vec<_> = namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        let published = register.counters(
            "fanfare_messages_published_total",
            "Publications accepted, duplicates included.",
            &["namespace", "source"],
        );
        let publish_duration = register.histograms(
            "fanfare_publish_duration_seconds",
            "From receiving a publication to having it in its topic.",
            &["source"],
        );
        let opened = register.counters(
            "fanfare_connections_opened_total",
            "WebSockets opened.",
            &["transport", "protocol"],
        );
        let dropped = register.counters(
            "fanfare_messages_dropped_total",
            "Publications that a subscriber missed and was told of.",
            &["namespace", "reason"],
        );
        let stats: Vec<_> = heartbeats.iter().map(|_| Arc::new(WorkerStats::new(names.len()))).collect();
        let this = Self {
            published: names
                .iter()
                .map(|name| Source::ALL.map(|s| published.with_label_values(&[name.as_str(), s.name()])))
                .collect(),
            publish_duration: Source::ALL.map(|source| publish_duration.with_label_values(&[source.name()])),
            publish_errors: register.counters(
                "fanfare_publish_errors_total",
                "Publications refused.",
                &["reason"],
            ),
            opened: Encoding::ALL.map(|e| opened.with_label_values(&["websocket", e.name()])),
            closed: register.counters("fanfare_connections_closed_total", "WebSockets closed.", &["reason"]),
            rejected: register.counters(
                "fanfare_connection_rejected_total",
                "Connections refused before they were WebSockets.",
                &["reason"],
            ),
            slow_consumers: register.counters(
                "fanfare_slow_consumers_total",
                "Subscriptions that fell behind what their topic keeps, by what was done.",
                &["action"],
            ),
            dropped: names
                .iter()
                .map(|name| dropped.with_label_values(&[name.as_str(), "slow_consumer"]))
                .collect(),
            recoveries: register.counters(
                "fanfare_recoveries_total",
                "Subscriptions that asked to continue from a position, by what became of it.",
                &["namespace", "result"],
            ),
            http_requests: register.counters(
                "fanfare_http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "code"],
            ),
            http_routes: Default::default(),
            http_duration: register.histograms(
                "fanfare_http_request_duration_seconds",
                "From the head of an HTTP request to the head of its answer.",
                &["route"],
            ),
            task_panics: register.counters(
                "fanfare_task_panics_total",
                "Tasks that ended by a panic: a fault in the broker.",
                &["task"],
            ),
            draining: register.add(IntGauge::new("fanfare_draining", "1 while the broker stops, else 0.")),
            fanout: register.add(Histogram::with_opts(
                HistogramOpts::new(
                    "fanfare_fanout_duration_seconds",
                    "From accepting a publication to having written it to the sockets of one worker.",
                )
                .buckets(SECONDS.to_vec()),
            )),
            workers: stats.clone(),
            registry: registry.clone(),
        };
        worker_stats::register(&register, &stats, namespaces);
        kept::register(&register, namespaces, retained);
        register_beside(&register, heartbeats, in_flight);
        registry.register(Box::new(access.refused().clone())).expect("each name is registered once");
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("each name is registered once");
        Arc::new(this)
    }

    /// The counters of one worker.
    pub fn worker(&self, index: usize) -> Arc<WorkerStats> {
        Arc::clone(&self.workers[index])
    }

    pub(crate) fn published(&self, namespace: usize, source: Source, took: Duration) {
        self.published[namespace][source as usize].inc();
        self.publish_duration[source as usize].observe(took.as_secs_f64());
    }

    pub(crate) fn publish_refused(&self, code: ErrorCode) {
        self.publish_errors.with_label_values(&[code.as_str()]).inc();
    }

    pub(crate) fn opened(&self, encoding: Encoding) {
        self.opened[encoding as usize].inc();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.with_label_values(&[reason]).inc();
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    pub(crate) fn slow_consumer(&self, namespace: usize, action: &'static str, missed: u64) {
        self.slow_consumers.with_label_values(&[action]).inc();
        self.dropped[namespace].inc_by(missed);
    }

    pub(crate) fn recovery(&self, namespace: &str, result: &'static str) {
        self.recoveries.with_label_values(&[namespace, result]).inc();
    }

    pub(crate) fn http(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let kept = &self.http_routes[route as usize];
        let label = if *method == Method::GET || *method == Method::POST { method.as_str() } else { "other" };
        let requests = || self.http_requests.with_label_values(&[route.template(), label, status.as_str()]);
        match (method, status) {
            (&Method::GET, StatusCode::OK) => kept.good_gets.get_or_init(requests).inc(),
            (&Method::POST, StatusCode::OK) => kept.good_posts.get_or_init(requests).inc(),
            _ => requests().inc(),
        }
        let duration = || self.http_duration.with_label_values(&[route.template()]);
        kept.duration.get_or_init(duration).observe(took.as_secs_f64());
    }

    /// `task` is one of a few names.
    pub(crate) fn task_panicked(&self, task: &'static str) {
        self.task_panics.with_label_values(&[task]).inc();
    }

    pub(crate) fn draining(&self) {
        self.draining.set(1);
    }

    /// Everything in the Prometheus text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a Vec takes all, and every family has a metric");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Metrics of a broker without workers.
    pub(crate) fn some() -> Arc<Metrics> {
        let namespaces = Namespaces::new(&Default::default());
        let access = Access::new(None).expect("no configuration is a good one");
        let budget = || Budget::new(usize::MAX);
        Metrics::new(&namespaces, &access, Vec::new(), &budget(), &budget())
    }
}
