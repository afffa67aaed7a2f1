//! What the table keeps of a topic in the topic itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::agenda::Filed;
use super::permits::TopicPermitSlot;
use crate::clock::Uptime;

/// What the table keeps of a topic in the topic itself.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// When something of it can next outlive its time, in milliseconds of [`Uptime`].
    due: AtomicU64,
    /// Its place among the deadlines.
    pub(crate) deadline: Filed,
    /// Its place among those that eviction may choose from.
    pub(crate) by_use: Filed,
    /// The permit that it takes of those of its first subscriber, while nobody has published to it.
    pub(crate) permit: TopicPermitSlot,
}

impl Ledger {
    /// When something of it can next outlive its time; far away where nothing can.
    pub(crate) fn due(&self) -> Uptime {
        Uptime::from_ms(self.due.load(Ordering::Relaxed))
    }

    /// Notes when something of it can next outlive its time, if it can.
    pub(crate) fn set_due(&self, due: Option<Uptime>) {
        self.due.store(due.map_or(u64::MAX, Uptime::as_ms), Ordering::Relaxed);
    }
}
