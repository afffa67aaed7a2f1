//! What a client has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Client`](crate::Client) and its clones have done since they began; the counts only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections made; one more than reconnects.
    pub connections: u64,
    /// Publications received, own ones included, whoever read them.
    pub received: u64,
    /// Publications that readers were told they missed. What was missed without a count (a topic began a new epoch)
    /// is not in it.
    pub missed: u64,
    /// Publishes sent; one that was sent again after a reconnect counts again.
    pub sent: u64,
    /// Publishes acknowledged.
    pub acknowledged: u64,
    /// Publishes acknowledged that the broker had already.
    pub duplicates: u64,
    /// Publishes that failed: refused, without an ack in time, or closed.
    pub failed: u64,
    /// Publishes that failed and [may be stored](crate::Error::may_have_happened) all the same.
    pub unknown: u64,
    /// Publishes that wait for their ack at the moment.
    pub unsettled: usize,
    /// Bytes of events that wait for their readers at the moment.
    pub waiting_bytes: usize,
}

/// The counts, as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Count,
    pub(crate) received: Count,
    pub(crate) missed: Count,
    pub(crate) sent: Count,
    pub(crate) acknowledged: Count,
    pub(crate) duplicates: Count,
    pub(crate) failed: Count,
    pub(crate) unknown: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
