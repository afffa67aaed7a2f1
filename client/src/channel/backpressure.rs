//! Backpressure: what the readers of a client say to its driver before anything of theirs is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What the queues of a client say to its driver.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    /// Whether some queue is half full: its reader should have a turn.
    is_felt: AtomicBool,
    /// Whether some queue is waited for.
    is_full: AtomicBool,
    full: Mutex<Full>,
    /// Goes up while a reader that is waited for reads.
    progress: AtomicU64,
    relief: Notify,
}

/// The queues that are waited for: each from when it is full until it is half empty, or all are given up.
#[derive(Debug, Default)]
struct Full {
    count: usize,
    /// Goes up when those that are full are given up: they count no longer.
    generation: u64,
}

impl Backpressure {
    pub(crate) fn feel(&self) {
        self.is_felt.store(true, Ordering::Relaxed);
    }

    /// Whether some reader should have a turn; asked once.
    pub(crate) fn take_felt(&self) -> bool {
        self.is_felt.load(Ordering::Relaxed) && self.is_felt.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_felt(&self) -> bool {
        self.is_felt.load(Ordering::Relaxed)
    }

    fn full(&self) -> MutexGuard<'_, Full> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more queue that is full. Returns what it is [relieved](Self::relieve) with.
    pub(crate) fn fill(&self) -> u64 {
        let mut full = self.full();
        full.count += 1;
        self.is_full.store(true, Ordering::Release);
        full.generation
    }

    /// Counts one queue less that is full: it has capacity again.
    pub(crate) fn relieve(&self, generation: u64) {
        let mut full = self.full();
        if full.generation == generation {
            full.count -= 1;
            if full.count == 0 {
                self.is_full.store(false, Ordering::Release);
                self.relief.notify_one();
            }
        }
    }

    /// How often readers that were waited for have read.
    pub(crate) fn progress_made(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// A reader that is waited for has read.
    pub(crate) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether those that were full then are waited for no longer.
    pub(crate) fn has_given_up(&self, generation: u64) -> bool {
        self.full().generation != generation
    }

    /// Gives up all queues that are full: nobody waits for them any longer.
    pub(crate) fn give_up(&self) {
        let mut full = self.full();
        full.count = 0;
        full.generation += 1;
        self.is_full.store(false, Ordering::Release);
    }

    /// Whether some queue is full and waited for.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Waits until no queue is full; may return early.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn relieved(&self) {
        self.relief.notified().await;
    }
}
