//! Asking for publications of the past.

use std::future::IntoFuture;

use fanfare_protocol::{Position, TopicName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::client::Client;
use crate::command::Command;
use crate::error::Error;
use crate::event::Publication;

/// Publications of the past.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The topic's newest position.
    pub position: Position,
    /// The publications, oldest first.
    pub publications: Vec<Publication>,
}

impl History {
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

    /// Only publications after this position.
    pub fn since(mut self, position: Position) -> Self {
        self.since = Some(position);
        self
    }

    /// At most so many: the oldest after `since`, or without `since` the newest.
    pub fn limit(mut self, count: u64) -> Self {
        self.limit = Some(count);
        self
    }
}

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
