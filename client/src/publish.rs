//! Publishing: the request, the room it needs, and the ack.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fanfare_protocol::{Headers, Position, TopicName, check_message_id};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::client::Client;
use crate::command::{Reply, Submission};
use crate::error::Error;
use crate::payload::Payload;
use crate::state::CloseReason;

/// What the broker said of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Where the publication stands.
    pub position: Position,
    /// Whether it stood there before, published earlier under the same `message_id`.
    pub duplicate: bool,
}

impl Published {
    pub(crate) fn new(position: Position, duplicate: bool) -> Self {
        Self { position, duplicate }
    }
}

/// A publish that was not sent yet: await it for the ack, or see [`send`](Self::send) and
/// [`try_send`](Self::try_send).
///
/// Every publish carries a `message_id`, made by the client where the caller gives none. A publish whose
/// ack was lost with the connection is sent again on the next one under the same id, in the order of all that is
/// sent again, so within the broker's window it is stored once. What others published meanwhile may stand before it.
/// What the broker *refused* is not sent again, even where the error [is retryable](Error::is_retryable):
/// by then later publishes may have succeeded, and only the caller knows whether their order matters.
#[must_use = "nothing is published until it is awaited or sent"]
#[derive(Debug)]
pub struct PublishRequest {
    client: Client,
    what: Result<(TopicName, Payload), Error>,
    message_id: Option<String>,
    headers: BTreeMap<String, String>,
}

impl PublishRequest {
    pub(crate) fn new(client: Client, what: Result<(TopicName, Payload), Error>) -> Self {
        Self { client, what, message_id: None, headers: BTreeMap::new() }
    }

    /// Names the publication within its topic, 1 to 64 bytes: publishing there again under the same name, whatever the
    /// payload, within the broker's window (2 minutes by default) gives the first position with `duplicate: true`.
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// Adds a small thing beside the payload; at most 32 of them, names and values together at most 1 KiB.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Waits for room in the publish buffer, hands the publish over and returns its ack, to be awaited or
    /// dropped.
    ///
    /// Publishes of one task reach the broker in the order in which they were sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad topic, message id, header or payload; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future before it is done means that nothing is published.
    pub async fn send(self) -> Result<PublishAck, Error> {
        let (client, publish) = self.check()?;
        let room = client.room().take(publish.payload.as_bytes().len()).await;
        publish.submit(&client, room)
    }

    /// Hands the publish over if there is room in the publish buffer.
    ///
    /// # Errors
    /// [`Error::Full`] at once where there is none, and as [`send`](Self::send).
    pub fn try_send(self) -> Result<PublishAck, Error> {
        let (client, publish) = self.check()?;
        let room = client.room().try_take(publish.payload.as_bytes().len()).ok_or(Error::Full)?;
        publish.submit(&client, room)
    }

    fn check(self) -> Result<(Client, Checked), Error> {
        let (topic, payload) = self.what?;
        if let Some(id) = &self.message_id {
            check_message_id(id).map_err(Error::invalid_text)?;
        }
        let message_id = self.message_id.map(Into::into);
        let headers = match self.headers {
            headers if headers.is_empty() => None,
            headers => Some(Headers::new(headers).map_err(Error::invalid_text)?),
        };
        Ok((self.client, Checked { topic, payload, message_id, headers }))
    }
}

/// Resolves with the ack, once the publication has its position.
///
/// # Cancel safety
/// A publish that was handed over goes on when the future is dropped.
impl IntoFuture for PublishRequest {
    type Output = Result<Published, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.send().await?.await }.boxed()
    }
}

struct Checked {
    topic: TopicName,
    payload: Payload,
    message_id: Option<Arc<str>>,
    headers: Option<Headers>,
}

impl Checked {
    fn submit(self, client: &Client, room: RoomTaken) -> Result<PublishAck, Error> {
        let Self { topic, payload, message_id, headers } = self;
        let (reply, answer) = Reply::new();
        let submission = |message_id| Submission { topic, payload, message_id, headers, reply, room };
        let message_id = client.submit(message_id, submission)?;
        Ok(PublishAck { message_id, answer })
    }
}

/// The ack of a publish that was handed over: a future of [`Published`].
///
/// Dropping it does not take the publish back. It fails with [`Error::Timeout`] when there was no ack
/// within the [request timeout](crate::ConnectOptions::request_timeout), reconnects included.
#[derive(Debug)]
pub struct PublishAck {
    message_id: Arc<str>,
    answer: oneshot::Receiver<Result<Published, Error>>,
}

impl PublishAck {
    /// The id under which a retry is safe.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
}

impl Future for PublishAck {
    type Output = Result<Published, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.poll_unpin(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(Error::closed(CloseReason::Stopped).of_fate(true))))
    }
}

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

    async fn take(&self, bytes: usize) -> RoomTaken {
        const OPEN: &str = "the room is never closed";
        let count = self.count.clone().acquire_owned().await.expect(OPEN);
        let bytes = self.bytes.clone().acquire_many_owned(self.share(bytes)).await.expect(OPEN);
        RoomTaken { _count: count, _bytes: bytes }
    }

    fn try_take(&self, bytes: usize) -> Option<RoomTaken> {
        let count = self.count.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(self.share(bytes)).ok()?;
        Some(RoomTaken { _count: count, _bytes: bytes })
    }

    /// A payload larger than the whole room takes all of it.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }
}
