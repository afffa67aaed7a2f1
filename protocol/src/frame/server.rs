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
        /// The id of the `connect` that this answers.
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
    /// The credentials expire soon: new ones are to be brought with `refresh`.
    Expiring {
        /// When they expire, in Unix milliseconds.
        expires_at: u64,
    },
    /// Publications were missed.
    Gap(Gap<'a>),
    /// Reply to `history`.
    History {
        /// The id of the `history` that this answers.
        id: Option<RequestId>,
        /// The topic that was asked for.
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
        /// The id of the `ping` that this answers.
        id: Option<RequestId>,
    },
    /// Reply to `publish`.
    Published {
        /// The id of the `publish` that this answers.
        id: Option<RequestId>,
        /// The topic that was published to.
        topic: TopicRef<'a>,
        /// The publication's position.
        position: Position,
        /// Whether it was published before, under the same `message_id`.
        duplicate: bool,
    },
    /// Reply to `refresh`.
    Refreshed {
        /// The id of the `refresh` that this answers.
        id: Option<RequestId>,
        /// When the new credentials expire, in Unix milliseconds.
        expires_at: Option<u64>,
    },
    /// Reply to `subscribe`.
    Subscribed(Subscribed<'a>),
    /// Reply to `unsubscribe`; without an id the server ended the subscription.
    Unsubscribed {
        /// The id of the `unsubscribe` that this answers.
        id: Option<RequestId>,
        /// The topic of the subscription that ended.
        topic: TopicRef<'a>,
        /// Why the server ended it; `None` where the client asked for it.
        code: Option<ErrorCode>,
        /// Why the server ended it, for people.
        message: Option<Cow<'a, str>>,
    },
}

/// Reply to `subscribe`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed<'a> {
    /// The id of the `subscribe` that this answers.
    pub id: Option<RequestId>,
    /// The topic that is subscribed to.
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
    /// The topic that it was published to.
    pub topic: TopicRef<'a>,
    /// Its place in the topic's epoch.
    pub offset: Offset,
    /// When the broker took it, in Unix milliseconds.
    pub time: u64,
    /// What was published.
    pub payload: PayloadRef<'a>,
    /// The id that its publisher gave it, if any.
    pub message_id: Option<Cow<'a, str>>,
    /// The headers that its publisher gave it, if any.
    pub headers: Option<Cow<'a, Headers>>,
    /// Who published it, by the credentials that the server checked; `None` for nobody in particular.
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
    /// The topic that they were published to.
    pub topic: TopicRef<'a>,
    /// The topic's epoch; a new one when the history began anew.
    pub epoch: Epoch,
    /// The first offset missed.
    pub from: Offset,
    /// The last offset missed.
    pub to: Offset,
    /// How many publications; `None` where that cannot be known, as on a new epoch.
    pub missed: Option<u64>,
}

/// Something was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFrame<'a> {
    /// The id of the frame that was refused, where it could be read.
    pub id: Option<RequestId>,
    /// The topic as the request wrote it.
    pub topic: Option<Cow<'a, str>>,
    /// Why it was refused, for programs.
    pub code: ErrorCode,
    /// Why it was refused, for people.
    pub message: Cow<'a, str>,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
    /// The time after which it may at the earliest, in milliseconds; `None` where that is not known.
    pub retry_after_ms: Option<u64>,
}

impl From<FrameError> for ErrorFrame<'static> {
    fn from(error: FrameError) -> Self {
        Self {
            id: error.id,
            topic: error.topic.map(Cow::Owned),
            code: error.code,
            message: Cow::Owned(error.message),
            retryable: error.code.is_retryable(),
            retry_after_ms: None,
        }
    }
}
