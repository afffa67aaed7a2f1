//! What somebody may do with a topic.

use serde::{Deserialize, Serialize};

/// What somebody may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Subscribe to it, be told of it in listings, and where it stands.
    Subscribe,
    /// Publish to it.
    Publish,
    /// See who subscribes to it.
    Presence,
    /// Read what was published to it before.
    History,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Publish, Self::Presence, Self::History];

    /// How it is written in a configuration and in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }
}
