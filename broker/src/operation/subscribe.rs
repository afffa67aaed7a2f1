//! Subscribing: a worker is told of what is published to a topic from some position on.

use std::sync::Arc;

use fanfare_protocol::{ErrorCode, TopicName, TopicRef};

use super::{Denied, allowed};
use crate::access::Grant;
use crate::answer::Answer;
use crate::hub::Hub;
use crate::inbox::Later;
use crate::topic::{Start, SubscriptionStart, Topic};

/// A leave to subscribe to one topic, once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave<'a> {
    topic: &'a TopicRef<'a>,
    start: Start,
    /// The bearer of the grant, on whose account a topic is that nobody has published to.
    user: Option<Arc<str>>,
}

/// Asks the grant for a leave to subscribe to that topic from there. To begin in the past is to read history. Whoever may not and
/// comes back with a position goes on at the head, and is told what it missed: it is not shut out for having been away, and gets
/// nothing by a position that it makes up.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave<'a>(grant: &Grant, topic: &'a TopicRef<'a>, start: Start) -> Result<Leave<'a>, Denied> {
    allowed(grant.may_subscribe(topic.as_str()), grant, "subscribe to this topic")?;
    let reads_history = || grant.may_read_history(topic.as_str());
    let start = match start {
        Start::History(1..) => {
            allowed(reads_history(), grant, "read the history of this topic")?;
            start
        }
        Start::Since(since) if !reads_history() => Start::Live(since),
        start => start,
    };
    Ok(Leave { topic, start, user: grant.user.clone() })
}

/// Whether the grant lets its bearer go on with a subscription to that topic.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave_to_stay(grant: &Grant, topic: &TopicName) -> Result<(), Denied> {
    allowed(grant.may_subscribe(topic.as_str()), grant, "subscribe to this topic")
}

impl Leave<'_> {
    /// Registers a subscription of that worker to the topic of the leave, making the topic if there is none, on the
    /// account of the grant's user. Whoever asks has so many subscriptions already.
    ///
    /// # Errors
    /// [`Denied`]: the broker stops, these are enough, or a limit of topics is reached.
    pub(crate) fn subscribe(
        self,
        hub: &Hub,
        worker: usize,
        subscriptions: usize,
        later: Later<'_>,
    ) -> Answer<Result<(Arc<Topic>, SubscriptionStart), Denied>> {
        if hub.is_draining() {
            return Answer::Now(Err(Denied::new(ErrorCode::Unavailable, "the server is stopping")));
        }
        let limit = hub.config().limits.subscriptions_per_connection;
        if subscriptions >= limit {
            let message = format!("a connection may have at most {limit} subscriptions");
            return Answer::Now(Err(Denied::new(ErrorCode::LimitExceeded, message)));
        }
        let began = hub.subscribe(self.topic, worker, self.user.as_ref(), self.start, later);
        began.map(|began| began.map_err(Denied::from))
    }
}
