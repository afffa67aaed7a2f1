//! The room that publishes take until they are settled.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room that publishes without an ack may take: a count, and bytes of payload.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    count_max: usize,
    bytes_max: u32,
}

/// Some room; given back when dropped.
#[derive(Debug)]
pub(crate) struct RoomTaken {
    _count: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Room {
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

    pub(crate) async fn take(&self, bytes: usize) -> RoomTaken {
        const OPEN: &str = "the room is never closed";
        let count = self.count.clone().acquire_owned().await.expect(OPEN);
        let bytes = self.bytes.clone().acquire_many_owned(self.share(bytes)).await.expect(OPEN);
        RoomTaken { _count: count, _bytes: bytes }
    }

    pub(crate) fn try_take(&self, bytes: usize) -> Option<RoomTaken> {
        let count = self.count.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(self.share(bytes)).ok()?;
        Some(RoomTaken { _count: count, _bytes: bytes })
    }

    /// A payload larger than the whole room takes all of it.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }
}
