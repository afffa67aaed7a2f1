//! Reading what a topic keeps, and where it stands.

use std::sync::Arc;

use fanfare_protocol::{Position, TopicRef};

use super::{Denied, allowed};
use crate::access::Grant;
use crate::answer::Answer;
use crate::hub::Hub;
use crate::inbox::Later;
use crate::topic::publication::Publication;

/// Publications in one `history` reply, if the request does not say less.
pub(crate) const HISTORY_COUNT_MAX: usize = 1000;
/// Bytes of one `history` reply's messages, as they are sent.
pub(crate) const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// Where a topic stands, and publications that it keeps.
pub(crate) type Kept = (Position, Vec<Arc<Publication>>);

/// A leave to read one topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave<'a> {
    topic: &'a TopicRef<'a>,
}

/// Asks the grant for a leave to read that topic: whoever may subscribe to it may.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave<'a>(grant: &Grant, topic: &'a TopicRef<'a>) -> Result<Leave<'a>, Denied> {
    allowed(grant.may_subscribe(topic.as_str()), grant, "subscribe to this topic")?;
    Ok(Leave { topic })
}

impl Leave<'_> {
    /// Where the topic stands, and what it keeps: after `since` the oldest `limit` publications, without it the newest
    /// `limit`; at most so many as have `bytes` together by the `measure`, but always one. Makes no topic.
    ///
    /// # Errors
    /// [`Denied`]: it cannot be found out.
    pub(crate) fn history(
        &self,
        hub: &Hub,
        since: Option<Position>,
        limit: usize,
        bytes: usize,
        measure: impl Fn(&Publication) -> usize,
        later: Later<'_>,
    ) -> Answer<Result<Kept, Denied>> {
        hub.find(self.topic, later).map(|found| {
            Ok(match found? {
                Ok(topic) => topic.history(since, limit, bytes, measure),
                Err(absent) => (absent.position, Vec::new()),
            })
        })
    }

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
