//! Asking for publications of the past.

use std::future::IntoFuture;

use fanfare_protocol::{Position, TopicName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::client::Client;
use crate::command::Command;
use crate::error::Error;
use crate::event::Publication;

/// Publications of the past: at most 1,000, or 1 MiB, whatever was asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The topic's newest position.
    pub position: Position,
    /// The publications, oldest first.
    pub publications: Vec<Publication>,
}

impl History {
    /// After what there is more of the past, as one reply did not hold all since the position that was asked for: ask
    /// again [since](HistoryRequest::since) there. `None` where the newest publication is among these.
    pub fn rest(&self) -> Option<Position> {
        let last = self.publications.last()?.position;
        (last.offset < self.position.offset).then_some(last)
    }

    pub(crate) fn new(position: Position, publications: Vec<Publication>) -> Self {
        Self { position, publications }
    }
}

/// A request for history that was not sent yet: await it.
#[must_use = "nothing is asked until it is awaited"]
#[derive(Debug)]
pub struct HistoryRequest {
    client: Client,
    topic: Result<TopicName, Error>,
    since: Option<Position>,
    limit: Option<u64>,
}

impl HistoryRequest {
    pub(crate) fn new(client: Client, topic: Result<TopicName, Error>) -> Self {
        Self { client, topic, since: None, limit: None }
    }

    /// Only publications after this position, the oldest first; `None` is as if it were not called.
    pub fn since(mut self, position: impl Into<Option<Position>>) -> Self {
        self.since = position.into();
        self
    }

    /// At most so many, 1,000 at most: the oldest after `since`, or without `since` the newest.
    pub fn limit(mut self, count: u64) -> Self {
        self.limit = Some(count);
        self
    }
}

/// Resolves with what the broker keeps of it.
///
/// # Errors
/// [`Error::Invalid`] for a bad topic; [`Error::Refused`]; [`Error::Timeout`]; [`Error::Closed`].
///
/// # Cancel safety
/// Dropping the future is fine: history is only read.
impl IntoFuture for HistoryRequest {
    type Output = Result<History, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, topic, since, limit } = self;
        async move {
            let topic = topic?;
            client.request(|reply| Command::History { topic, since, limit, reply }).await
        }
        .boxed()
    }
}
