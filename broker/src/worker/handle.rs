//! A worker as other threads see it: what they may ask of it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::{Semaphore, mpsc};

use super::credit::{Credit, Lane, Wants};
use super::stats::{self, WorkerStats};
use crate::answer::inbox::Inbox;
use crate::heartbeat::{self, Heartbeat};
use crate::metrics::Registry;
use crate::namespaces::Namespaces;
use crate::permit::Permit;
use crate::topic::{Mailbox, Mailboxes};

/// Sockets that may wait for one worker to take them.
const SOCKETS_WAITING_MAX: usize = 1024;

/// An accepted socket on its way to its worker.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) permit: Permit,
}

/// One worker as others see it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Topics with something new.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Answers that were not known at once.
    pub(crate) inbox: Arc<Inbox>,
    /// What may be published by its connections before it delivers.
    credit: Credit,
    /// For requests whose answer is work in one piece: one at a time.
    long_work: Semaphore,
    sockets: mpsc::Sender<Socket>,
    /// Sockets that it owns, for choosing the least loaded worker.
    pub(crate) load: Arc<AtomicUsize>,
    /// Whether it runs.
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// What it counts.
    pub(crate) stats: Arc<WorkerStats>,
}

impl WorkerHandle {
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

    /// Hands a socket over.
    ///
    /// # Errors
    /// Gives the socket back when too many wait already or the worker has stopped.
    pub(crate) fn adopt(&self, socket: Socket) -> Result<(), Box<Socket>> {
        self.sockets.try_send(socket).map_err(|e| match e {
            mpsc::error::TrySendError::Closed(socket) | mpsc::error::TrySendError::Full(socket) => {
                Box::new(socket)
            }
        })
    }
}

/// The receiving end of a worker's sockets.
pub(crate) type Sockets = mpsc::Receiver<Socket>;

/// All workers.
#[derive(Debug, Clone)]
pub struct Workers {
    handles: Arc<[WorkerHandle]>,
    /// Those of the handles, for whoever knows topics alone.
    mailboxes: Arc<Mailboxes>,
}

impl Workers {
    /// Handles of so many workers, which count by these namespaces.
    pub(crate) fn new(count: usize, namespaces: &Namespaces) -> (Self, Vec<Sockets>) {
        let mailboxes: Arc<Mailboxes> = (0..count).map(|_| Arc::default()).collect();
        let (handles, sockets): (Vec<_>, Vec<_>) = mailboxes
            .iter()
            .map(|mailbox| {
                let (sender, receiver) = mpsc::channel(SOCKETS_WAITING_MAX);
                let handle = WorkerHandle {
                    mailbox: Arc::clone(mailbox),
                    inbox: Inbox::new(Arc::clone(mailbox)),
                    credit: Credit::default(),
                    long_work: Semaphore::new(1),
                    sockets: sender,
                    load: Arc::default(),
                    heartbeat: Arc::default(),
                    stats: WorkerStats::new(namespaces.count()),
                };
                (handle, receiver)
            })
            .unzip();
        (Self { handles: handles.into(), mailboxes }, sockets)
    }

    /// Where each worker finds topics with something new.
    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// Enters what they count, and whether they run.
    pub(crate) fn register(&self, registry: &Registry, namespaces: &Namespaces) {
        stats::register(registry, self.iter().map(|worker| Arc::clone(&worker.stats)), namespaces);
        heartbeat::register(registry, self.iter().map(|worker| Arc::clone(&worker.heartbeat)).collect());
    }

    /// The index of the worker with the fewest sockets, of those that take any: a worker that has ended has the
    /// fewest of all.
    pub(crate) fn least_loaded(&self) -> usize {
        let load = |&worker: &usize| {
            let handle = &self[worker];
            (handle.sockets.is_closed(), handle.load.load(Ordering::Relaxed))
        };
        (0..self.len()).min_by_key(load).expect("there is a worker")
    }
}

impl Deref for Workers {
    type Target = [WorkerHandle];

    fn deref(&self) -> &[WorkerHandle] {
        &self.handles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_ended_gets_no_socket() {
        let (workers, mut sockets) = Workers::new(3, &Namespaces::new(&Default::default()));
        workers[1].load.fetch_add(1, Ordering::Relaxed);
        assert_eq!(workers.least_loaded(), 0);
        drop(sockets.remove(0));
        assert_eq!(workers.least_loaded(), 2);
        drop(sockets.remove(1));
        assert_eq!(workers.least_loaded(), 1, "the last one, whatever its load");
    }
}
