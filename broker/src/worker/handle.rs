//! The mailbox of a worker: what other threads may ask of it. [life of a publication: step 4]

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::{Notify, Semaphore, mpsc};

use super::credit::{Credit, Lane, Wants};
use super::heartbeat::Heartbeat;
use crate::topic::Topic;

/// Sockets that may wait for one worker to take them.
const SOCKETS_WAITING_MAX: usize = 1024;

/// An accepted socket on its way to its worker.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: std::net::TcpStream,
    /// Counts it, and knows its routes.
    pub(crate) admitted: crate::acceptor::Admitted,
}

/// One worker as others see it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Topics with something new. Bounded by the topics' dirty flags: each is in here at most once.
    dirty: Mutex<Vec<Arc<Topic>>>,
    notify: Notify,
    /// What may be published by its connections before it delivers.
    credit: Credit,
    /// For requests whose answer is work in one piece: one at a time.
    long_work: Semaphore,
    sockets: mpsc::Sender<Socket>,
    /// Sockets that it owns, for choosing the least loaded worker.
    load: AtomicUsize,
    /// Whether it runs.
    pub(crate) heartbeat: Heartbeat,
}

impl WorkerHandle {
    /// Tells the worker that the topic has something new. The topic's dirty flag is set already.
    pub(crate) fn wake(&self, topic: Arc<Topic>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = dirty.is_empty();
        dirty.push(topic);
        drop(dirty);
        if was_empty {
            self.notify.notify_one();
        }
    }

    /// Takes a publication of so many bytes from the worker's credit; where there is none, `waker` is woken when
    /// it is the lane's turn. To be asked on the worker's own thread.
    pub(crate) fn poll_publish(&self, lane: Lane, bytes: usize, wants: Wants, waker: &Waker) -> Poll<()> {
        let taken = self.credit.poll_take(lane, bytes, wants, waker);
        if taken.is_pending() {
            // Nothing may be dirty, and there must be a round all the same.
            self.notify.notify_one();
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

    /// Waits until there may be something dirty.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Moves the dirty topics into `into`, which must be empty.
    pub(super) fn take_dirty(&self, into: &mut Vec<Arc<Topic>>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *dirty, into);
    }

    /// Hands a socket over; it counts here until its [`Admitted`](crate::acceptor::Admitted) is dropped.
    ///
    /// # Errors
    /// Gives the socket back when too many wait already or the worker has stopped.
    pub(crate) fn adopt(&self, socket: Socket) -> Result<(), Box<Socket>> {
        self.load.fetch_add(1, Ordering::Relaxed);
        self.sockets.try_send(socket).map_err(|e| match e {
            mpsc::error::TrySendError::Closed(socket) | mpsc::error::TrySendError::Full(socket) => {
                Box::new(socket)
            }
        })
    }

    /// A socket is gone.
    pub(crate) fn released(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The receiving end of a worker's sockets.
pub(crate) type Sockets = mpsc::Receiver<Socket>;

/// All workers.
#[derive(Debug, Clone)]
pub struct Workers(Arc<[WorkerHandle]>);

impl Workers {
    /// Mailboxes for so many workers.
    pub(crate) fn new(count: usize) -> (Self, Vec<Sockets>) {
        let (handles, sockets): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(SOCKETS_WAITING_MAX);
                let handle = WorkerHandle {
                    dirty: Mutex::default(),
                    notify: Notify::new(),
                    credit: Credit::default(),
                    long_work: Semaphore::new(1),
                    sockets: sender,
                    load: AtomicUsize::new(0),
                    heartbeat: Heartbeat::default(),
                };
                (handle, receiver)
            })
            .unzip();
        (Self(handles.into()), sockets)
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
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_ended_gets_no_socket() {
        let (workers, mut sockets) = Workers::new(3);
        workers[1].load.fetch_add(1, Ordering::Relaxed);
        assert_eq!(workers.least_loaded(), 0);
        drop(sockets.remove(0));
        assert_eq!(workers.least_loaded(), 2);
        drop(sockets.remove(1));
        assert_eq!(workers.least_loaded(), 1, "the last one, whatever its load");
    }
}
