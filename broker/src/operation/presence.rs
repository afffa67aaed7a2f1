//! Who subscribes to a topic.

use std::convert::Infallible;

use fanfare_protocol::{ErrorCode, TopicRef};

use super::{Denied, allowed};
use crate::access::Grant;
use crate::answer::Answer;
use crate::inbox::Later;

/// A leave to be told who subscribes to a topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave<'a> {
    _topic: &'a TopicRef<'a>,
}

/// Asks the grant for a leave to be told who subscribes to that topic.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn leave<'a>(grant: &Grant, topic: &'a TopicRef<'a>) -> Result<Leave<'a>, Denied> {
    allowed(grant.may_see_presence(topic.as_str()), grant, "see who subscribes to this topic")?;
    Ok(Leave { _topic: topic })
}

impl Leave<'_> {
    /// Who subscribes to the topic of the leave: there is no such answer yet.
    ///
    /// # Errors
    /// [`Denied`]: it is not offered.
    pub(crate) fn members(self, _later: Later<'_>) -> Answer<Result<Infallible, Denied>> {
        Answer::Now(Err(not_offered()))
    }
}

/// Why nobody is told.
pub(crate) fn not_offered() -> Denied {
    Denied::new(ErrorCode::BadRequest, "this server does not offer presence")
}
