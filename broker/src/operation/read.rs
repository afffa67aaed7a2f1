//! Reading what a topic keeps, and where it stands. Nothing is made by it.

use std::sync::Arc;

use fanfare_protocol::{Position, TopicRef};

use super::{Denied, allowed};
use crate::access::Grant;
use crate::answer::Answer;
use crate::hub::Hub;
use crate::inbox::Later;
use crate::topic::publication::Publication;

/// Publications of one answer, if the request does not say less.
const HISTORY_COUNT_MAX: usize = 1000;
/// Bytes of one answer's publications, as they are sent.
const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// Where a topic stands, and publications that it keeps.
pub(crate) type TopicHistory = (Position, Vec<Arc<Publication>>);

/// A leave to read the history of one topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HistoryLeave<'a> {
    topic: &'a TopicRef<'a>,
}

/// A leave to be told where one topic stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PositionLeave<'a> {
    topic: &'a TopicRef<'a>,
}

/// Asks the grant for a leave to read the history of that topic.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn history<'a>(grant: &Grant, topic: &'a TopicRef<'a>) -> Result<HistoryLeave<'a>, Denied> {
    allowed(grant.may_read_history(topic.as_str()), grant, "read the history of this topic")?;
    Ok(HistoryLeave { topic })
}

/// Asks the grant for a leave to be told where that topic stands: whoever may subscribe to it may, for to subscribe tells it too.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn position<'a>(grant: &Grant, topic: &'a TopicRef<'a>) -> Result<PositionLeave<'a>, Denied> {
    allowed(grant.may_subscribe(topic.as_str()), grant, "subscribe to this topic")?;
    Ok(PositionLeave { topic })
}

impl HistoryLeave<'_> {
    /// Where the topic stands, and what it keeps: after `since` the oldest `limit` publications, without it the newest
    /// `limit`. There are never more of them than an answer may have, in count and in bytes by the `measure`, but
    /// always one if any is wanted. Makes no topic.
    ///
    /// # Errors
    /// [`Denied`]: it cannot be found out.
    pub(crate) fn history(
        &self,
        hub: &Hub,
        since: Option<Position>,
        limit: Option<u64>,
        measure: impl Fn(&Publication) -> usize,
        later: Later<'_>,
    ) -> Answer<Result<TopicHistory, Denied>> {
        let count = limit.map_or(HISTORY_COUNT_MAX, |limit| limit.min(HISTORY_COUNT_MAX as u64) as usize);
        hub.find(self.topic, later).map(|found| {
            Ok(match found? {
                Ok(topic) => topic.history(since, count, HISTORY_BYTES_MAX, measure),
                Err(absent) => (absent.position, Vec::new()),
            })
        })
    }
}

impl PositionLeave<'_> {
    /// Where the topic stands, and how many subscriptions it has. Makes no topic.
    ///
    /// # Errors
    /// [`Denied`]: it cannot be found out.
    pub(crate) fn position(&self, hub: &Hub, later: Later<'_>) -> Answer<Result<(Position, usize), Denied>> {
        hub.find(self.topic, later).map(|found| {
            Ok(match found? {
                Ok(topic) => (topic.position(), topic.subscriptions()),
                Err(absent) => (absent.position, 0),
            })
        })
    }
}
