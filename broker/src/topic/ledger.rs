//! What the table keeps of a topic in the topic itself.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::accounts::Account;
use super::agenda::Filed;
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
    /// How often in a row eviction found nothing that may go.
    passed_over: AtomicU8,
    /// On whose account it is while nobody has published to it.
    pub(crate) account: Account,
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

    /// Counts that nothing of it may go; returns how often before, at most `most`.
    pub(crate) fn passed_over(&self, most: u8) -> u8 {
        let before = self.passed_over.load(Ordering::Relaxed).min(most);
        self.passed_over.store(before + 1, Ordering::Relaxed);
        before
    }

    /// Something of it went.
    pub(crate) fn gave_way(&self) {
        self.passed_over.store(0, Ordering::Relaxed);
    }
}
