//! What one worker counts: written by its thread alone, read by a scrape.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::encoding::Encoding;

/// The counters of one worker, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    /// By namespace and encoding.
    delivered: Box<[[AtomicU64; Encoding::ALL.len()]]>,
    /// By namespace.
    subscriptions: Box<[AtomicI64]>,
    /// By encoding.
    connections: [AtomicI64; Encoding::ALL.len()],
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) write_queue_bytes: AtomicI64,
    pub(super) round_ns: AtomicU64,
    pub(super) behind: AtomicI64,
    /// By [`Wait`].
    pub(super) held_up_us: [AtomicU64; Wait::ALL.len()],
    /// As of the last time that all connections were looked at.
    pub(super) blocked_max_ms: AtomicU64,
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
    pub(super) const ALL: [Self; 2] = [Self::Turn, Self::Credit];

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Credit => "credit",
        }
    }
}

impl WorkerStats {
    pub(super) fn new(namespaces: usize) -> Self {
        Self {
            delivered: (0..namespaces).map(|_| Default::default()).collect(),
            subscriptions: (0..namespaces).map(|_| AtomicI64::default()).collect(),
            connections: Default::default(),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            write_queue_bytes: AtomicI64::default(),
            round_ns: AtomicU64::default(),
            behind: AtomicI64::default(),
            held_up_us: Default::default(),
            blocked_max_ms: AtomicU64::default(),
        }
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

    /// A connection waited for so long.
    pub(crate) fn held_up(&self, wait: Wait, length: Duration) {
        self.held_up_us[wait as usize].fetch_add(length.as_micros() as u64, Ordering::Relaxed);
    }

    /// Of all sockets that take nothing, the one of longest standing has taken nothing for so long.
    pub(crate) fn blocked_max(&self, ms: u32) {
        self.blocked_max_ms.store(ms.into(), Ordering::Relaxed);
    }

    pub(crate) fn round(&self, took: Duration) {
        self.round_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn delivered_now(&self, namespace: usize, encoding: Encoding) -> u64 {
        self.delivered[namespace][encoding as usize].load(Ordering::Relaxed)
    }

    pub(super) fn subscriptions_now(&self, namespace: usize) -> i64 {
        self.subscriptions[namespace].load(Ordering::Relaxed)
    }

    pub(super) fn connections_now(&self, encoding: Encoding) -> i64 {
        self.connections[encoding as usize].load(Ordering::Relaxed)
    }
}
