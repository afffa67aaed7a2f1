//! What the clones of a client share, and their requests need.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc};

use super::link::Link;
use super::message_ids::MessageIds;
use crate::channel::{Command, Handed, PublishPermits, Reply, Submission, SubscriberId};
use crate::error::Error;

/// What a client is to its clones and to requests that were not sent yet: while there is one of them, publishes may
/// come.
pub(crate) struct Shared {
    link: Arc<Link>,
    publishes: mpsc::Sender<Handed>,
    /// The place in `publishes` for whoever flushes.
    flush: Arc<Semaphore>,
    permits: PublishPermits,
    /// Held while a publish is handed over, so that ids count in the order of sending.
    message_ids: Mutex<MessageIds>,
    subscribers: AtomicU64,
    subscription_buffer: usize,
}

impl Shared {
    /// `publishes` has a place for each that there is a permit, and one more.
    pub(crate) fn new(
        link: Link,
        publishes: mpsc::Sender<Handed>,
        permits: PublishPermits,
        subscription_buffer: usize,
    ) -> Self {
        Self {
            link: Arc::new(link),
            publishes,
            flush: Arc::new(Semaphore::new(1)),
            permits,
            message_ids: Mutex::new(MessageIds::new(rand::random())),
            subscribers: AtomicU64::new(0),
            subscription_buffer,
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn request<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        self.link.request(command).await
    }

    /// Hands a publish over, under the `given` id or one that is made; returns the id.
    pub(crate) fn submit(
        &self,
        given: Option<Arc<str>>,
        submission: impl FnOnce(Arc<str>) -> Submission,
    ) -> Result<Arc<str>, Error> {
        let mut ids = self.message_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = given.unwrap_or_else(|| ids.make());
        let submission = submission(id.clone());
        self.publishes.try_send(Handed::Publish(submission)).map_err(|_| self.link.closed())?;
        Ok(id)
    }

    /// Waits until what was handed over so far is settled.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let Self { link, publishes, flush, .. } = self;
        let place = flush.clone().acquire_owned().await.expect("it is never closed");
        let (reply, answer) = Reply::new();
        publishes.send(Handed::Flush { reply, _place: place }).await.map_err(|_| link.closed())?;
        answer.await.unwrap_or_else(|_| Err(link.closed()))
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn permits(&self) -> &PublishPermits {
        &self.permits
    }

    pub(crate) fn next_subscriber(&self) -> SubscriberId {
        SubscriberId(self.subscribers.fetch_add(1, Ordering::Relaxed))
    }

    /// Most events that wait for a subscription's reader, where it does not say.
    pub(crate) fn subscription_buffer(&self) -> usize {
        self.subscription_buffer
    }
}

/// As the client that it is.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.link.state.borrow().clone()).finish_non_exhaustive()
    }
}
