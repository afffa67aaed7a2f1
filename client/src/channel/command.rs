//! What the handles ask of the driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_protocol::{Headers, OnLag, Position, TopicName};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::permits::PublishPermit;
use super::queue::EventQueue;
use crate::answer::{History, Published};
use crate::error::Error;
use crate::payload::Payload;
use crate::state::CloseReason;

/// Where the answer to a command goes; whoever asked may be gone.
pub(crate) struct Reply<T>(oneshot::Sender<Result<T, Error>>);

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(crate) fn send(self, answer: Result<T, Error>) {
        // Nobody wants to know any more: that is no error here.
        drop(self.0.send(answer));
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a handle asks of the driver. Publishes have a queue of their own: see [`Submission`].
pub(crate) enum Command {
    Drain(Drain),
    History { topic: TopicName, since: Option<Position>, limit: Option<u64>, reply: Reply<History> },
    Ping { reply: Reply<()> },
    Subscribe(NewSubscriber),
    Unsubscribe { topic: TopicName, subscriber: SubscriberId, reply: Reply<()> },
}

/// Take nothing more, wait for the acks, but no longer than until the deadline; then end.
pub(crate) struct Drain {
    pub(crate) deadline: Instant,
    /// How long that was from the beginning.
    pub(crate) within: Duration,
    pub(crate) reply: Reply<()>,
}

/// A publish on its way to the driver.
pub(crate) struct Submission {
    pub(crate) topic: TopicName,
    pub(crate) payload: Payload,
    pub(crate) message_id: Arc<str>,
    pub(crate) headers: Option<Headers>,
    pub(crate) reply: Reply<Published>,
    /// Given back when the publish is settled.
    pub(crate) permit: PublishPermit,
}

/// What is handed over in order: publishes, and the wish to know when those before are settled.
pub(crate) enum Handed {
    Publish(Submission),
    /// The permit is given back when the driver has it: one place in the queue is enough for all who flush.
    Flush {
        reply: Reply<()>,
        _place: OwnedSemaphorePermit,
    },
}

/// A subscription as asked for by a handle.
pub(crate) struct NewSubscriber {
    pub(crate) id: SubscriberId,
    pub(crate) topic: TopicName,
    pub(crate) start: Start,
    pub(crate) echo: bool,
    pub(crate) on_lag: OnLag,
    pub(crate) queue: QueueWriter,
    /// Answered with the position after which the subscription begins.
    pub(crate) reply: Reply<Position>,
}

/// Which [`Subscription`](crate::Subscription) of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriberId(pub(crate) u64);

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the newest so many publications.
    History(u64),
    /// With what comes.
    Now,
    /// After a position.
    Since(Position),
}

/// The driver's end of an event queue: dropping it ends the subscription, so that no reader waits for ever.
pub(crate) struct QueueWriter(pub(crate) Arc<EventQueue>);

impl std::ops::Deref for QueueWriter {
    type Target = EventQueue;

    fn deref(&self) -> &EventQueue {
        &self.0
    }
}

impl Drop for QueueWriter {
    fn drop(&mut self) {
        self.0.close(CloseReason::Stopped);
    }
}

/// Subscriptions that were dropped: `Drop` cannot wait for capacity in a queue, and this list is never longer
/// than there are subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    list: Mutex<Vec<(TopicName, SubscriberId)>>,
    news: Notify,
}

impl Departures {
    pub(crate) fn add(&self, topic: TopicName, subscriber: SubscriberId) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((topic, subscriber));
        self.news.notify_one();
    }

    /// Waits until some subscription was dropped.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn wait(&self) -> Vec<(TopicName, SubscriberId)> {
        self.news.notified().await;
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
