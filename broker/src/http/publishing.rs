//! A publication on its way, and what it has become.

use std::borrow::Cow;

use fanfare_protocol::{Epoch, Offset, Position};
use serde::Serialize;

use super::problem::Problem;
use super::question::Question;
use crate::hub::{Hub, UnansweredPublish};
use crate::inbox::Pending;
use crate::operation::Denied;
use crate::operation::publish::{self, Content, Leave};
use crate::source::Source;
use crate::topic::Accepted;

/// A publication that was taken, as the API tells it.
#[derive(Debug, Serialize)]
pub(super) struct Published<'a> {
    topic: Cow<'a, str>,
    epoch: Epoch,
    offset: Offset,
    duplicate: bool,
}

impl<'a> Published<'a> {
    pub(super) fn new(topic: impl Into<Cow<'a, str>>, accepted: &Accepted) -> Self {
        let Position { epoch, offset } = accepted.position;
        Self { topic: topic.into(), epoch, offset, duplicate: accepted.is_duplicate }
    }
}

/// A publication that has been handed over, and may be answered later.
pub(super) struct PendingPublish {
    asked: UnansweredPublish,
    answer: Result<Result<Accepted, Denied>, Pending>,
}

impl PendingPublish {
    pub(super) fn begin(hub: &Hub, worker: usize, leave: Leave<'_>, content: Content) -> Self {
        let question = Question::new(&hub.workers[worker].inbox);
        let bytes = content.payload.as_bytes().len();
        hub.workers[worker].heat.published(leave.topic(), bytes);
        let promise = || question.promise_charged(&hub.in_flight, bytes);
        let (asked, answer) = leave.publish(hub, content, Source::Http, &promise);
        Self { asked, answer: question.answered(answer) }
    }

    /// Waits until it is known what has become of it.
    ///
    /// # Errors
    /// [`Problem`]: it was refused.
    pub(super) async fn end(self, hub: &Hub) -> Result<Accepted, Problem> {
        Ok(match self.answer {
            Ok(known) => known?,
            Err(pending) => publish::settled(hub, self.asked, pending.answer().await)?,
        })
    }
}
