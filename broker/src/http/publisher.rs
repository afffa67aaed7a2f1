//! A request that publishes, as one of those who share its worker's credit.

use std::future::poll_fn;

use tokio::time::Instant;

use crate::hub::Hub;
use crate::workers::credit::{Lane, Wants};
use crate::workers::handle::WorkerHandle;
use crate::workers::stats::Wait;

/// A request that publishes. Dropped, it no longer stands in line.
#[derive(Debug)]
pub(super) struct Publisher<'h> {
    hub: &'h Hub,
    worker: usize,
    lane: Lane,
    wants: Wants,
    /// Whether it has stood in line, which it has to leave then.
    has_waited: bool,
    /// The moment since which it has waited; `None` while it does not.
    since: Option<Instant>,
}

impl<'h> Publisher<'h> {
    /// A publisher on that worker, whose thread must be the one that polls it.
    pub(super) fn new(hub: &'h Hub, worker: usize, wants: Wants) -> Self {
        let lane = Lane(hub.next_connection_id().get());
        Self { hub, worker, lane, wants, has_waited: false, since: None }
    }

    fn worker(&self) -> &'h WorkerHandle {
        &self.hub.workers[self.worker]
    }

    /// Waits until a publication of so many bytes may be made.
    ///
    /// # Cancel safety
    /// Cancel safe; the place in the line is lost when the publisher is dropped.
    pub(super) async fn permitted(&mut self, bytes: usize) {
        poll_fn(|cx| {
            let taken = self.worker().poll_publish(self.lane, bytes, self.wants, cx.waker());
            if taken.is_pending() {
                self.has_waited = true;
                self.since.get_or_insert_with(Instant::now);
            } else {
                self.end_wait();
            }
            taken
        })
        .await;
    }

    fn end_wait(&mut self) {
        if let Some(since) = self.since.take() {
            self.worker().stats.waited(Wait::Credit, since.elapsed());
        }
    }
}

impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        if self.has_waited {
            self.end_wait();
            self.worker().leave(self.lane);
        }
    }
}
