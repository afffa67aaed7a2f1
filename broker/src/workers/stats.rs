//! What one worker counts: written by its thread alone, read by a scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::encoding::Encoding;
use crate::metrics::{Add, Registry};
use crate::namespaces::{Namespace, Namespaces};

/// The counters of one worker, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct WorkerStats {
    /// Publications delivered, by namespace and encoding.
    delivered: Box<[[AtomicU64; Encoding::ALL.len()]]>,
    /// Subscriptions now, by namespace.
    subscriptions: Box<[AtomicI64]>,
    /// Connections now, by encoding.
    connections: [AtomicI64; Encoding::ALL.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    write_queue_bytes: AtomicI64,
    round_ns: AtomicU64,
    /// Processor time of its thread.
    busy_ns: AtomicU64,
    behind: AtomicI64,
    /// Time that connections waited, in microseconds, by [`Wait`].
    waited_us: [AtomicU64; Wait::ALL.len()],
    /// The longest time, in milliseconds, for which a socket had taken nothing when all were last looked at.
    blocked_max_ms: AtomicU64,
}

/// What the broker has a connection wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its turn.
    Turn,
    /// Credit to publish.
    Credit,
}

impl Wait {
    const ALL: [Self; 2] = [Self::Turn, Self::Credit];

    /// Its name in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Credit => "credit",
        }
    }
}

impl WorkerStats {
    pub(super) fn new(namespaces: usize) -> Arc<Self> {
        Arc::new(Self {
            delivered: (0..namespaces).map(|_| Default::default()).collect(),
            subscriptions: (0..namespaces).map(|_| AtomicI64::default()).collect(),
            connections: Default::default(),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            write_queue_bytes: AtomicI64::default(),
            round_ns: AtomicU64::default(),
            busy_ns: AtomicU64::default(),
            behind: AtomicI64::default(),
            waited_us: Default::default(),
            blocked_max_ms: AtomicU64::default(),
        })
    }

    pub(crate) fn delivered(&self, namespace: usize, encoding: Encoding, count: u64) {
        self.delivered[namespace][encoding as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subscriptions(&self, namespace: usize, change: i64) {
        self.subscriptions[namespace].fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self, encoding: Encoding, change: i64) {
        self.connections[encoding as usize].fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn queued(&self, change: i64) {
        if change != 0 {
            self.write_queue_bytes.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Subscriptions that are behind, more or fewer.
    pub(crate) fn behind(&self, change: i64) {
        self.behind.fetch_add(change, Ordering::Relaxed);
    }

    /// Counts the time for which a connection waited.
    pub(crate) fn waited(&self, wait: Wait, waited: Duration) {
        self.waited_us[wait as usize].fetch_add(waited.as_micros() as u64, Ordering::Relaxed);
    }

    /// Sets the longest time, in milliseconds, for which a socket has taken nothing.
    pub(crate) fn blocked_max(&self, ms: u32) {
        self.blocked_max_ms.store(ms.into(), Ordering::Relaxed);
    }

    /// Sets the processor time that the worker's thread has had.
    pub(crate) fn busy(&self, had: Duration) {
        self.busy_ns.store(had.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn round(&self, took: Duration) {
        self.round_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// One worker as a scrape finds it.
struct Seen<'s> {
    stats: &'s WorkerStats,
    /// The worker's number.
    worker: &'s str,
    /// All namespaces, in the order of their indices.
    namespaces: &'s [Arc<Namespace>],
}

/// A family: its name, what it is, its labels, and what a worker adds to it.
type Family = (&'static str, &'static str, &'static [&'static str], fn(&Seen<'_>, &mut Add<'_>));

const COUNTERS: [Family; 6] = [
    (
        "fanfare_messages_delivered_total",
        "Publications handed to connections.",
        &["namespace", "protocol"],
        |seen, add| {
            for (namespace, delivered) in seen.namespaces.iter().zip(&seen.stats.delivered) {
                for encoding in Encoding::ALL {
                    add(&[&namespace.name, encoding.name()], count(&delivered[encoding as usize]));
                }
            }
        },
    ),
    ("fanfare_received_bytes_total", "Bytes read from sockets.", &["transport"], |seen, add| {
        add(&["websocket"], count(&seen.stats.received_bytes));
    }),
    ("fanfare_sent_bytes_total", "Bytes written to sockets.", &["transport"], |seen, add| {
        add(&["websocket"], count(&seen.stats.sent_bytes));
    }),
    (
        "fanfare_worker_round_seconds_total",
        "Time that a worker spent delivering.",
        &["worker"],
        |seen, add| add(&[seen.worker], count(&seen.stats.round_ns) / 1e9),
    ),
    (
        "fanfare_worker_cpu_seconds_total",
        "Processor time that a worker has had.",
        &["worker"],
        |seen, add| add(&[seen.worker], count(&seen.stats.busy_ns) / 1e9),
    ),
    (
        "fanfare_held_up_seconds_total",
        "Time that connections waited for their turn, or for credit to publish.",
        &["wait"],
        |seen, add| {
            for wait in Wait::ALL {
                add(&[wait.name()], count(&seen.stats.waited_us[wait as usize]) / 1e6);
            }
        },
    ),
];

const GAUGES: [Family; 6] = [
    ("fanfare_subscriptions", "Subscriptions now.", &["namespace"], |seen, add| {
        for (namespace, subscriptions) in seen.namespaces.iter().zip(&seen.stats.subscriptions) {
            add(&[&namespace.name], level(subscriptions));
        }
    }),
    ("fanfare_connections", "WebSockets open now.", &["transport", "protocol"], |seen, add| {
        for encoding in Encoding::ALL {
            add(&["websocket", encoding.name()], level(&seen.stats.connections[encoding as usize]));
        }
    }),
    ("fanfare_worker_connections", "WebSockets that a worker has now.", &["worker"], |seen, add| {
        add(&[seen.worker], seen.stats.connections.iter().map(level).sum());
    }),
    (
        "fanfare_subscriptions_behind",
        "Subscriptions that catch up by themselves now, out of step with their topics.",
        &[],
        |seen, add| add(&[], level(&seen.stats.behind)),
    ),
    ("fanfare_write_queue_bytes", "Bytes that wait for sockets to take them.", &[], |seen, add| {
        add(&[], level(&seen.stats.write_queue_bytes))
    }),
    (
        "fanfare_blocked_max_seconds",
        "For how long the socket has taken nothing that has done so for the longest time.",
        &["worker"],
        |seen, add| add(&[seen.worker], count(&seen.stats.blocked_max_ms) / 1e3),
    ),
];

fn count(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

fn level(gauge: &AtomicI64) -> f64 {
    gauge.load(Ordering::Relaxed) as f64
}

/// Has the counters of all workers summed when somebody scrapes.
pub(super) fn register(
    registry: &Registry,
    workers: impl Iterator<Item = Arc<WorkerStats>>,
    namespaces: &Namespaces,
) {
    let workers: Arc<[_]> = workers.enumerate().map(|(number, stats)| (number.to_string(), stats)).collect();
    let namespaces: Arc<[_]> = namespaces.iter().cloned().collect();
    let of_all = |read: fn(&Seen<'_>, &mut Add<'_>)| {
        let (workers, namespaces) = (Arc::clone(&workers), Arc::clone(&namespaces));
        move |add: &mut Add<'_>| {
            for (worker, stats) in &*workers {
                read(&Seen { stats, worker, namespaces: &namespaces }, add);
            }
        }
    };
    for (name, help, labels, read) in COUNTERS {
        registry.read_counters(name, help, labels, of_all(read));
    }
    for (name, help, labels, read) in GAUGES {
        registry.read_gauges(name, help, labels, of_all(read));
    }
}
