//! The permits that publishes hold until they are settled.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits for publishes without an ack: a count of them, and bytes of their payloads.
#[derive(Debug, Clone)]
pub(crate) struct PublishPermits {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    count_max: usize,
    bytes_max: u32,
}

/// The permits of one publish; given back when dropped.
#[derive(Debug)]
pub(crate) struct PublishPermit {
    _count: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl PublishPermits {
    pub(crate) fn new(count: usize, bytes: usize) -> Self {
        let count_max = count.clamp(1, Self::MAX);
        let bytes_max = bytes.clamp(1, Self::MAX);
        Self {
            count: Arc::new(Semaphore::new(count_max)),
            bytes: Arc::new(Semaphore::new(bytes_max)),
            count_max,
            bytes_max: bytes_max as u32,
        }
    }

    /// What a semaphore counts up to on every platform.
    const MAX: usize = 1 << 28;

    /// Most publishes without an ack at a time.
    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }

    /// How many there are at the moment.
    pub(crate) fn count(&self) -> usize {
        self.count_max - self.count.available_permits()
    }

    pub(crate) async fn take(&self, bytes: usize) -> PublishPermit {
        const OPEN: &str = "they are never closed";
        let count = self.count.clone().acquire_owned().await.expect(OPEN);
        let bytes = self.bytes.clone().acquire_many_owned(self.share(bytes)).await.expect(OPEN);
        PublishPermit { _count: count, _bytes: bytes }
    }

    pub(crate) fn try_take(&self, bytes: usize) -> Option<PublishPermit> {
        let count = self.count.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(self.share(bytes)).ok()?;
        Some(PublishPermit { _count: count, _bytes: bytes })
    }

    /// The permits for a payload of so many bytes; one larger than all of them takes all.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }
}
