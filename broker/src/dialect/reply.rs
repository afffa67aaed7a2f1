//! What a peer is told when something that it asked for is done, however that is said.

use std::time::Duration;

use fanfare_protocol::{Position, Recovery, TopicRef};

use crate::ids::ConnectionId;
use crate::operation::read::TopicHistory;
use crate::topic::Accepted;

/// What was found or done for a peer, to be said in its dialect or left unsaid.
#[derive(Debug, Clone)]
pub(crate) enum Reply<'r> {
    /// The credentials of `connect` count from now on.
    Connected {
        connection: ConnectionId,
        /// Who the credentials say it is.
        user: Option<&'r str>,
        ping_interval: Duration,
        /// Bytes of the largest message that is taken.
        message_size: u64,
        /// When the credentials expire, in Unix milliseconds; `None` where they do not.
        expires_at: Option<u64>,
    },
    /// What a topic keeps.
    History { topic: &'r TopicRef<'r>, kept: &'r TopicHistory },
    /// The broker is there.
    Pong,
    /// A publication has its position.
    Published { topic: TopicRef<'r>, accepted: Accepted },
    /// The new credentials count from now on.
    Refreshed {
        /// When they expire, in Unix milliseconds; `None` where they do not.
        expires_at: Option<u64>,
    },
    /// A subscription has begun, or was changed.
    Subscribed {
        topic: TopicRef<'r>,
        /// The topic's head at that moment.
        position: Position,
        /// What became of the position to continue from, where one was asked for.
        recovery: Option<Recovery>,
        /// Publications of the past that follow.
        replayed: u64,
    },
    /// A subscription has ended because its peer asked for it.
    Unsubscribed { topic: TopicRef<'r> },
}
