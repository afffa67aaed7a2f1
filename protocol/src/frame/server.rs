//! The frames that a server sends, as values.

use std::borrow::Cow;

use super::{FrameError, RequestId};
use crate::code::ErrorCode;
use crate::headers::Headers;
use crate::payload::PayloadRef;
use crate::position::{Epoch, Offset, Position};
use crate::topic::TopicRef;

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerFrame<'a> {
    /// Reply to `connect`.
    Connected {
        /// Of the request.
        id: Option<RequestId>,
        /// The connection's name in logs.
        connection: Cow<'a, str>,
        /// Who the credentials say it is.
        user: Option<Cow<'a, str>>,
        /// The server's name and version.
        server: Cow<'a, str>,
        /// How often the server sends WebSocket pings, in milliseconds.
        ping_interval_ms: u64,
        /// The largest WebSocket message that it takes, in bytes; `None` where it does not say.
        message_size: Option<u64>,
        /// When the credentials expire, in Unix milliseconds.
        expires_at: Option<u64>,
    },
    /// Something was refused.
    Error(ErrorFrame<'a>),
    /// Publications were missed.
    Gap(Gap<'a>),
    /// Reply to `history`.
    History {
        /// Of the request.
        id: Option<RequestId>,
        /// Whose.
        topic: TopicRef<'a>,
        /// The topic's epoch.
        epoch: Epoch,
        /// The topic's newest offset.
        offset: Offset,
        /// The publications, oldest first.
        messages: Vec<Message<'a>>,
    },
    /// A publication delivered.
    Message(Message<'a>),
    /// Reply to `ping`.
    Pong {
        /// Of the request.
        id: Option<RequestId>,
    },
    /// Reply to `publish`.
    Published {
        /// Of the request.
        id: Option<RequestId>,
        /// Where to.
        topic: TopicRef<'a>,
        /// The publication's position.
        position: Position,
        /// Whether it was published before, under the same `message_id`.
        duplicate: bool,
    },
    /// Reply to `refresh`.
    Refreshed {
        /// Of the request.
        id: Option<RequestId>,
        /// When the new credentials expire, in Unix milliseconds.
        expires_at: Option<u64>,
    },
    /// Reply to `subscribe`.
    Subscribed(Subscribed<'a>),
    /// Reply to `unsubscribe`; without an id the server ended the subscription.
    Unsubscribed {
        /// Of the request.
        id: Option<RequestId>,
        /// Whose.
        topic: TopicRef<'a>,
        /// Why the server ended it.
        code: Option<ErrorCode>,
        /// Why, for people.
        message: Option<Cow<'a, str>>,
    },
}

/// Reply to `subscribe`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed<'a> {
    /// Of the request.
    pub id: Option<RequestId>,
    /// To what.
    pub topic: TopicRef<'a>,
    /// The topic's head at that moment.
    pub position: Position,
    /// What became of `since`, where the request had one.
    pub recovery: Option<Recovery>,
    /// How many publications of the past follow.
    pub replayed: u64,
}

/// What became of a wish to continue from a position: all or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Something was missed.
    Missed {
        /// How many publications, none of which follow; unknown when the epoch changed.
        count: Option<u64>,
    },
    /// Everything after the position follows.
    Recovered,
}

/// A publication delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Whose.
    pub topic: TopicRef<'a>,
    /// Its place in the topic's epoch.
    pub offset: Offset,
    /// When the broker took it, in Unix milliseconds.
    pub time: u64,
    /// What was published.
    pub payload: PayloadRef<'a>,
    /// As published.
    pub message_id: Option<Cow<'a, str>>,
    /// As published.
    pub headers: Option<Cow<'a, Headers>>,
    /// Who published it, as the server knows.
    pub from: Option<Author<'a>>,
}

/// Who published something: stamped by the server, never by the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author<'a> {
    /// The user of the publisher's credentials.
    pub user: Cow<'a, str>,
}

/// Publications were missed: the next message has an offset past `to`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap<'a> {
    /// Whose.
    pub topic: TopicRef<'a>,
    /// The topic's epoch; a new one when the history began anew.
    pub epoch: Epoch,
    /// The first offset missed.
    pub from: Offset,
    /// The last offset missed.
    pub to: Offset,
    /// How many; unknown on a new epoch.
    pub missed: Option<u64>,
}

/// Something was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFrame<'a> {
    /// Of the request.
    pub id: Option<RequestId>,
    /// The topic as the request wrote it.
    pub topic: Option<Cow<'a, str>>,
    /// Why.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: Cow<'a, str>,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
}

impl From<FrameError> for ErrorFrame<'static> {
    fn from(error: FrameError) -> Self {
        Self {
            id: error.id,
            topic: error.topic.map(Cow::Owned),
            code: error.code,
            message: Cow::Owned(error.message),
            retryable: error.code.is_retryable(),
        }
    }
}
