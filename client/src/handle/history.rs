//! Asking for publications of the past.

use std::future::IntoFuture;
use std::sync::Arc;

use fanfare_protocol::{Position, TopicName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::shared::Shared;
use crate::answer::History;
use crate::channel::Command;
use crate::error::Error;

/// A request for history that was not sent yet: await it.
#[must_use = "nothing is asked until it is awaited"]
#[derive(Debug)]
pub struct HistoryRequest {
    client: Arc<Shared>,
    topic: Result<TopicName, Error>,
    since: Option<Position>,
    limit: Option<u64>,
}

impl HistoryRequest {
    pub(crate) fn new(client: Arc<Shared>, topic: Result<TopicName, Error>) -> Self {
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
