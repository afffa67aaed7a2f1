//! How Prometheus reads what is counted: the registry, in which each wing enters what it counts.
//!
//! A wing counts in a struct of its own, made by one function that takes the registry. What happens per delivery each
//! worker counts for itself, and it is summed when somebody scrapes; the rest uses the `prometheus` types directly. A
//! scrape costs as much as there are series, never as much as there are connections or topics.
//!
//! It must not know who counts, nor have a topic, a user or a payload in a label.

mod scraped;

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, TextEncoder,
};

pub(crate) use scraped::Add;
use scraped::{MetricKind, Scraped};

/// Buckets of durations, in seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Lines that the log of this process dropped because it could not write them, or not as fast as they came: counted
/// by whoever writes the log.
pub static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// What is counted, by name. Names, labels and what is said of them are literals, and each name is entered once.
#[derive(Debug, Clone)]
pub(crate) struct Registry(prometheus::Registry);

impl Registry {
    /// A registry that knows the process: its version, its log, and what the system says of it.
    pub(crate) fn new() -> Self {
        let this = Self(prometheus::Registry::new());
        this.read_gauges("fanfare_build_info", "The version that runs; always 1.", &["version"], |add| {
            add(&[env!("CARGO_PKG_VERSION")], 1.0);
        });
        this.read_counters(
            "fanfare_log_lines_dropped_total",
            "Log lines that could not be written, or not as fast as they came.",
            &[],
            |add| add(&[], LOG_LINES_DROPPED.load(Ordering::Relaxed) as f64),
        );
        #[cfg(target_os = "linux")]
        this.enter(prometheus::process_collector::ProcessCollector::for_self());
        this
    }

    /// Enters what was made elsewhere.
    pub(crate) fn enter(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("each name is entered once");
    }

    fn make<C: Collector + Clone + 'static>(&self, collector: prometheus::Result<C>) -> C {
        let collector = collector.expect("the name and the labels are literals");
        self.enter(collector.clone());
        collector
    }

    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.make(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.make(IntGauge::new(name, help))
    }

    /// A moment in Unix seconds.
    pub(crate) fn moment(&self, name: &str, help: &str) -> Gauge {
        self.make(Gauge::new(name, help))
    }

    /// Durations in seconds.
    pub(crate) fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.make(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }

    /// Durations in seconds, by labels.
    pub(crate) fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.make(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }

    /// Counters that somebody else keeps: `read` adds to each when somebody scrapes.
    pub(crate) fn read_counters<R>(&self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn(&mut Add<'_>) + Send + Sync + 'static,
    {
        self.read(MetricKind::Counter, name, help, labels, read);
    }

    /// Gauges that somebody else keeps: `read` adds to each when somebody scrapes.
    pub(crate) fn read_gauges<R>(&self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn(&mut Add<'_>) + Send + Sync + 'static,
    {
        self.read(MetricKind::Gauge, name, help, labels, read);
    }

    fn read<R>(&self, kind: MetricKind, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn(&mut Add<'_>) + Send + Sync + 'static,
    {
        let scraped = Scraped::new(kind, name, help, labels, read);
        self.enter(scraped.expect("the name and the labels are literals"));
    }

    /// Everything in the Prometheus text format.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.0.gather(), &mut text)
            .expect("a Vec takes all, and every family has a metric");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}
