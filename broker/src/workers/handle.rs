//! A worker as other threads see it: what they may ask of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::busy::Busy;
use super::credit::{Credit, Lane, Wants};
use super::heat::Heat;
use super::stats::WorkerStats;
use crate::heartbeat::Heartbeat;
use crate::inbox::Inbox;
use crate::namespaces::Namespaces;
use crate::topic::Mailbox;

/// A worker that has not said for so long that it runs is given nothing more.
const STANDS_STILL: Duration = Duration::from_secs(1);

/// One worker as others see it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Topics with something new.
    pub(crate) mailbox: Arc<Mailbox>,
    /// What comes to it beside topics.
    pub(crate) inbox: Arc<Inbox>,
    /// What may be published by its connections before it delivers.
    credit: Credit,
    /// The permit for requests whose answer is work in one piece: one at a time.
    long_work: Semaphore,
    /// Its share of a core.
    pub(crate) busy: Busy,
    /// Sockets that it owns, for choosing the worker with the fewest.
    pub(crate) load: Arc<AtomicUsize>,
    /// Whether it runs.
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// What it has most to do with.
    pub(crate) heat: Heat,
    /// What it counts.
    pub(crate) stats: Arc<WorkerStats>,
}

impl WorkerHandle {
    /// The handle of a worker with that mailbox, which counts by these namespaces.
    pub(super) fn new(mailbox: &Arc<Mailbox>, namespaces: &Namespaces) -> Self {
        Self {
            mailbox: Arc::clone(mailbox),
            inbox: Inbox::new(),
            credit: Credit::default(),
            long_work: Semaphore::new(1),
            busy: Busy::default(),
            load: Arc::default(),
            heartbeat: Arc::default(),
            heat: Heat::default(),
            stats: WorkerStats::new(namespaces.count()),
        }
    }

    /// The count of sockets that it owns.
    pub(super) fn sockets(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether it takes sockets, and connections of other workers: not once it has ended, nor while it stands still.
    pub(crate) fn takes_sockets(&self) -> bool {
        !self.inbox.is_closed_to_sockets() && self.heartbeat.age() < STANDS_STILL
    }

    /// Takes a publication of so many bytes from the worker's credit; where there is none, `waker` is woken when
    /// it is the lane's turn. To be asked on the worker's own thread.
    pub(crate) fn poll_publish(&self, lane: Lane, bytes: usize, wants: Wants, waker: &Waker) -> Poll<()> {
        let taken = self.credit.poll_take(lane, bytes, wants, waker);
        if taken.is_pending() {
            // Nothing may be dirty, and there must be a round all the same.
            self.mailbox.nudge();
        }
        taken
    }

    /// The lane publishes no more.
    pub(crate) fn leave(&self, lane: Lane) {
        self.credit.leave(lane);
    }

    /// Does work of a request that takes long and cannot be interrupted, when it is its turn: between two of them
    /// everybody else on the worker has theirs, however many there are.
    ///
    /// # Cancel safety
    /// The place in the line is lost when the future is dropped.
    pub(crate) async fn long_work<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = self.long_work.acquire().await.expect("it is never closed");
        let done = work();
        tokio::task::yield_now().await;
        drop(turn);
        done
    }

    /// Whether somebody waits for credit.
    pub(crate) fn awaits_credit(&self) -> bool {
        self.credit.is_awaited()
    }

    /// A round is over: there is new credit.
    pub(crate) fn refill_credit(&self) {
        self.credit.refill();
    }
}
