//! What can go wrong, by who must act.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use fanfare_protocol::ErrorCode;

use crate::failure::{Cause, Failure};
use crate::state::CloseReason;

/// Why an operation did not succeed.
///
/// A publish that failed may be stored all the same; [`may_have_happened`](Self::may_have_happened) tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The client is closed for good.
    #[non_exhaustive]
    Closed {
        /// Why it is.
        reason: CloseReason,
        /// Whether it was sent before, so that the broker may have done it.
        may_have_happened: bool,
    },
    /// As many publishes or requests are waiting for their replies as the client holds.
    Full,
    /// The caller asked for something impossible: a bad URL, topic name, message id, header or payload.
    #[non_exhaustive]
    Invalid {
        /// What, and why, for people.
        why: String,
        /// What found it.
        source: Option<Cause>,
    },
    /// There is no connection, and the caller did not want to wait for one: see
    /// [`fail_fast`](crate::ConnectOptions::fail_fast).
    NotConnected(Failure),
    /// The broker refused it.
    #[non_exhaustive]
    Refused {
        /// Why, as the protocol says it.
        code: ErrorCode,
        /// Why, for people.
        message: String,
        /// Whether the same may succeed later, as the broker said.
        retryable: bool,
        /// The time after which it may at the earliest, where the broker said so: it limits how much is asked.
        retry_after: Option<Duration>,
        /// Whether it was sent before, on a connection that was lost: the broker may have done it then.
        may_have_happened: bool,
    },
    /// No answer in time.
    #[non_exhaustive]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// Where there was no connection: why the last try to make one failed.
        last_failure: Option<Failure>,
        /// Whether it was sent, so that the broker may have done it.
        may_have_happened: bool,
    },
}

impl Error {
    /// Whether the same call may succeed later without being changed.
    ///
    /// A publish that is tried again should carry the `message_id` of the first try: within the broker's window it is
    /// not stored twice then. Give it one of your own, or read [`PublishAck::message_id`](crate::PublishAck::message_id)
    /// before the ack is awaited.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Closed { .. } | Self::Invalid { .. } => false,
            Self::Full | Self::NotConnected(_) | Self::Timeout { .. } => true,
            Self::Refused { retryable, .. } => *retryable,
        }
    }

    /// The time after which the same call may succeed at the earliest, where the broker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the broker may have done what was asked, although it is not known. False where it was never sent, and
    /// where the broker said no to all that was sent.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Closed { may_have_happened, .. }
            | Self::Refused { may_have_happened, .. }
            | Self::Timeout { may_have_happened, .. } => *may_have_happened,
            Self::Full | Self::Invalid { .. } | Self::NotConnected(_) => false,
        }
    }

    /// The error of something that was never sent.
    pub(crate) fn closed(reason: CloseReason) -> Self {
        Self::Closed { reason, may_have_happened: false }
    }

    /// This error, of something that `may_have_happened`.
    pub(crate) fn of_fate(mut self, may_have_happened: bool) -> Self {
        if let Self::Closed { may_have_happened: fate, .. }
        | Self::Refused { may_have_happened: fate, .. }
        | Self::Timeout { may_have_happened: fate, .. } = &mut self
        {
            *fate = may_have_happened;
        }
        self
    }

    /// What the broker would have said of a frame that is larger than it takes, and then have closed the connection.
    pub(crate) fn too_large(bytes: usize, max: usize) -> Self {
        let message = format!("this takes {bytes} bytes, and the broker takes messages of {max} at most");
        let code = ErrorCode::TooLarge;
        Self::Refused { code, message, retryable: false, retry_after: None, may_have_happened: false }
    }

    /// `what` is not as it must be, as `source` says.
    pub(crate) fn invalid(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Invalid {
            why: format!("{what}: {source}"),
            source: Some(Cause::from(Box::new(source) as Box<_>)),
        }
    }

    pub(crate) fn invalid_text(why: impl Into<String>) -> Self {
        Self::Invalid { why: why.into(), source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { reason, .. } => write!(f, "the client is closed: {reason}"),
            Self::Full => f.write_str("too much is waiting for a reply already"),
            Self::Invalid { why, .. } => f.write_str(why),
            Self::NotConnected(failure) => write!(f, "not connected: {failure}"),
            Self::Refused { code, message, .. } => write!(f, "refused with {code}: {message}"),
            Self::Timeout { after, last_failure: None, .. } => write!(f, "no answer within {after:?}"),
            Self::Timeout { after, last_failure: Some(failure), .. } => {
                write!(f, "no answer within {after:?} ({failure})")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Invalid { source: Some(source), .. } => Some(source.as_ref()),
            // The failure's text is part of this one's.
            Self::NotConnected(failure) | Self::Timeout { last_failure: Some(failure), .. } => {
                failure.source()
            }
            _ => None,
        }
    }
}
