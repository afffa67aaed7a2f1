//! Why a topic is not made.

use fanfare_protocol::ErrorCode;

/// Why a topic is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicLimit {
    /// There are as many topics as there may be.
    #[error("the broker has as many topics as it may; try again a little later")]
    Table,
    /// The user's subscriptions hold as many topics as they may.
    #[error("your subscriptions hold as many topics as they may to which nobody has published")]
    User,
    /// The subscriptions of those without credentials hold together as many topics as they may.
    #[error("subscriptions without credentials hold as many topics as they may; try again a little later")]
    Strangers,
}

impl TopicLimit {
    /// The error code that says so.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Strangers | Self::Table => ErrorCode::Unavailable,
            Self::User => ErrorCode::LimitExceeded,
        }
    }
}
