//! Publishing: the request and its ack.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fanfare_protocol::{Headers, TopicName, check_message_id};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::shared::Shared;
use crate::answer::Published;
use crate::channel::{PublishPermit, Reply, Submission};
use crate::error::Error;
use crate::payload::Payload;
use crate::state::CloseReason;

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
    client: Arc<Shared>,
    what: Result<(TopicName, Payload), Error>,
    message_id: Option<String>,
    headers: BTreeMap<String, String>,
}

impl PublishRequest {
    pub(crate) fn new(client: Arc<Shared>, what: Result<(TopicName, Payload), Error>) -> Self {
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

    /// Waits for capacity in the publish buffer, hands the publish over and returns its ack, to be awaited or
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
        let permit = client.permits().take(publish.payload.as_bytes().len()).await;
        publish.submit(&client, permit)
    }

    /// Hands the publish over if there is capacity in the publish buffer.
    ///
    /// # Errors
    /// [`Error::Full`] at once where there is none, and as [`send`](Self::send).
    pub fn try_send(self) -> Result<PublishAck, Error> {
        let (client, publish) = self.check()?;
        let permit = client.permits().try_take(publish.payload.as_bytes().len()).ok_or(Error::Full)?;
        publish.submit(&client, permit)
    }

    fn check(self) -> Result<(Arc<Shared>, Checked), Error> {
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
    fn submit(self, client: &Shared, permit: PublishPermit) -> Result<PublishAck, Error> {
        let Self { topic, payload, message_id, headers } = self;
        let (reply, answer) = Reply::new();
        let submission = |message_id| Submission { topic, payload, message_id, headers, reply, permit };
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
