//! What can go wrong, by who must act.

use std::time::Duration;

use fanfare_protocol::ErrorCode;

use crate::state::CloseReason;

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client is closed for good, and why. A publish that fails with it may or may not have reached the
    /// broker: publishing again with the same `message_id` through another client is safe.
    #[error("the client is closed: {0}")]
    Closed(CloseReason),
    /// As many publishes or requests are waiting for their replies as the client holds.
    #[error("too much is waiting for a reply already")]
    Full,
    /// The caller asked for something impossible: a bad URL, topic name, message id, header or payload.
    #[error("{0}")]
    Invalid(String),
    /// The broker refused it.
    #[error("refused with {code}: {message}")]
    Refused {
        /// Why, as the protocol says it.
        code: ErrorCode,
        /// Why, for people.
        message: String,
        /// Whether the same may succeed later, as the broker said.
        retryable: bool,
    },
    /// No answer in time. It may or may not have happened.
    #[error("no answer within {after:?}{}", because(.last_failure))]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// Where there was no connection: why the last try to connect failed.
        last_failure: Option<String>,
    },
}

impl Error {
    /// Whether the same call may succeed later without being changed.
    ///
    /// A publish that is tried again should carry the `message_id` of the first try
    /// (see [`PublishAck::message_id`](crate::PublishAck::message_id)), then it is never stored twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Closed(_) | Self::Invalid(_) => false,
            Self::Full | Self::Timeout { .. } => true,
            Self::Refused { retryable, .. } => *retryable,
        }
    }

    /// What the broker would have said of a frame that is larger than it takes, and then have closed the connection.
    pub(crate) fn too_large(bytes: usize, max: usize) -> Self {
        let message =
            format!("the publish takes {bytes} bytes, and the broker takes messages of {max} at most");
        Self::Refused { code: ErrorCode::TooLarge, message, retryable: false }
    }

    pub(crate) fn invalid(why: impl ToString) -> Self {
        Self::Invalid(why.to_string())
    }
}

fn because(failure: &Option<String>) -> String {
    failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default()
}
