//! A worker as other threads see it: what they may ask of it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Poll, Waker};

use tokio::sync::{Semaphore, mpsc};

use super::credit::{Credit, Lane, Wants};
use crate::heartbeat::Heartbeat;
use crate::inbox::Inbox;
use crate::permit::Permit;
use crate::topic::Mailbox;

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
}

impl WorkerHandle {
    /// The handle of a worker with that mailbox, and the receiving end of its sockets.
    pub(super) fn new(mailbox: &Arc<Mailbox>) -> (Self, Sockets) {
        let (sender, receiver) = mpsc::channel(SOCKETS_WAITING_MAX);
        let handle = Self {
            mailbox: Arc::clone(mailbox),
            inbox: Inbox::new(Arc::clone(mailbox)),
            credit: Credit::default(),
            long_work: Semaphore::new(1),
            sockets: sender,
            load: Arc::default(),
            heartbeat: Arc::default(),
        };
        (handle, receiver)
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

    /// Whether it takes no sockets any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sockets.is_closed()
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
