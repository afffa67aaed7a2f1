//! Answers that another process may have to give, and that then come later.
//!
//! They must not know who gives them, nor what whoever asked does with them.

use fanfare_protocol::ErrorCode;

use crate::topic::Accepted;
use crate::topic::limit::TopicLimit;

/// What was asked: known at once, or told later.
#[derive(Debug)]
#[must_use]
pub enum Answer<T> {
    /// Known at once.
    Now(T),
    /// What became of it is told under this ticket to whoever asked.
    Later(Ticket),
}

/// A number under which an answer is waited for: unique on its worker, and larger than those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl<T> Answer<T> {
    /// This answer, with another value where it is known at once.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Now(known) => Answer::Now(change(known)),
            Self::Later(ticket) => Answer::Later(ticket),
        }
    }
}

/// What became of a question that was not answered at once.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// What was missing is there: ask again.
    AskAgain,
    /// The publication has its position.
    Published(Accepted),
    /// What was asked for was not done, as far as is known.
    Refused(Refusal),
}

/// Why a publication was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More is held than may be retained, and nothing of it can go yet.
    #[error(
        "the broker holds more than it may retain, and nothing of it can go yet; try again a little later"
    )]
    Exhausted,
    /// There are as many topics as there may be.
    #[error(transparent)]
    TopicLimit(#[from] TopicLimit),
    /// More answers are waited for than may be.
    #[error("too many wait for an answer already; try again a little later")]
    Busy,
    /// The keys by which tokens are signed are not there.
    #[error("the keys that tell whose the token is are not there; try again a little later")]
    KeysMissing,
    /// No answer came in time.
    #[error("no answer came in time: what was asked for may have been done all the same")]
    Unanswered,
}

impl Refusal {
    /// The error code that says so.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Exhausted | Self::Busy | Self::KeysMissing | Self::Unanswered => ErrorCode::Unavailable,
            Self::TopicLimit(why) => why.code(),
        }
    }
}
