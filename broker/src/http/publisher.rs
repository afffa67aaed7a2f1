//! A request that publishes, as one of those who share its worker's credit.

use std::future::poll_fn;

use crate::hub::Hub;
use crate::worker::credit::{Lane, Wants};
use crate::worker::handle::WorkerHandle;

/// A request that publishes. Dropped, it no longer stands in line.
#[derive(Debug)]
pub(super) struct Publisher<'h> {
    worker: &'h WorkerHandle,
    lane: Lane,
    wants: Wants,
    has_waited: bool,
}

impl<'h> Publisher<'h> {
    /// One on that worker, whose thread must be the one that polls it.
    pub(super) fn new(hub: &'h Hub, worker: usize, wants: Wants) -> Self {
        let lane = Lane(hub.next_connection_id().get());
        Self { worker: &hub.workers[worker], lane, wants, has_waited: false }
    }

    /// Waits until a publication of so many bytes may be made.
    ///
    /// # Cancel safety
    /// Cancel safe; the place in the line is lost when the publisher is dropped.
    pub(super) async fn permitted(&mut self, bytes: usize) {
        poll_fn(|cx| {
            let taken = self.worker.poll_publish(self.lane, bytes, self.wants, cx.waker());
            self.has_waited |= taken.is_pending();
            taken
        })
        .await;
    }
}

impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        if self.has_waited {
            self.worker.leave(self.lane);
        }
    }
}
