//! Publishing: a publication comes in by some door, and gets its position or a refusal.

use std::sync::Arc;

use fanfare_protocol::{Headers, Payload, TopicRef};
use tokio::time::Instant;

use super::{Denied, allowed};
use crate::access::Grant;
use crate::answer::{Answer, Outcome, Refusal};
use crate::clock::Moment;
use crate::hub::{Hub, UnansweredPublish};
use crate::ids::ConnectionId;
use crate::inbox::Later;
use crate::source::Source;
use crate::topic::Accepted;
use crate::topic::publication::Unpositioned;

/// What is published, as it came.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) payload: Payload,
    /// The id by which a retry is known as one.
    pub(crate) message_id: Option<Box<str>>,
    pub(crate) headers: Option<Headers>,
    /// The connection that it came by, which may not want it back; HTTP requests have none.
    pub(crate) origin: Option<ConnectionId>,
    /// The moment when it was there as a whole, from which its latency is counted.
    pub(crate) received: Instant,
}

/// A leave to publish to one topic, once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave<'a> {
    topic: &'a TopicRef<'a>,
    /// The bearer of the grant, whom subscribers are told.
    user: Option<Arc<str>>,
}

/// Asks the grant for a leave to publish to that topic.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave<'a>(grant: &Grant, topic: &'a TopicRef<'a>) -> Result<Leave<'a>, Denied> {
    allowed(grant.may_publish(topic.as_str()), grant, "publish to this topic")?;
    Ok(Leave { topic, user: grant.user.clone() })
}

/// Whether the grant lets its bearer publish to any topic at all.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave_at_all(grant: &Grant) -> Result<(), Denied> {
    allowed(!grant.may_publish_nothing(), grant, "publish")
}

impl Leave<'_> {
    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        self.topic.as_str()
    }

    /// Publishes to the topic of the leave, and counts it. See [`Engine::publish`](crate::engine::Engine::publish). What
    /// is answered later is to be [`settled`].
    ///
    /// # Errors
    /// [`Denied`]: the publication was not taken.
    pub(crate) fn publish(
        self,
        hub: &Hub,
        content: Content,
        source: Source,
        later: Later<'_>,
    ) -> (UnansweredPublish, Answer<Result<Accepted, Denied>>) {
        let Content { payload, message_id, headers, origin, received } = content;
        let content = Unpositioned {
            payload,
            message_id,
            headers,
            user: self.user,
            origin,
            received: Moment::of(received.into_std()),
        };
        let asked = hub.asked(self.topic, received, source);
        let answer = hub.publish(self.topic, content, asked, later);
        (asked, answer.map(|result| result.map_err(Denied::from)))
    }
}

/// What became of a publication that was answered later.
///
/// # Errors
/// [`Denied`]: the publication was not taken, or no answer came in time.
pub(crate) fn settled(hub: &Hub, asked: UnansweredPublish, outcome: Outcome) -> Result<Accepted, Denied> {
    let result = match outcome {
        Outcome::Published(accepted) => Ok(accepted),
        Outcome::Refused(why) => Err(why),
        Outcome::AskAgain => Err(Refusal::Unanswered),
    };
    hub.published(asked, &result);
    result.map_err(Denied::from)
}
