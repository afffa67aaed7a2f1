//! The frames that a client sends, as values.

use std::borrow::Cow;

use super::RequestId;
use crate::code::ErrorCode;
use crate::headers::Headers;
use crate::payload::PayloadRef;
use crate::position::Position;
use crate::topic::TopicRef;

/// What a client sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientFrame<'a> {
    /// The number that the reply or the error repeats; without one a `publish` gets a reply only if it fails.
    pub id: Option<RequestId>,
    /// The request itself.
    pub op: ClientOp<'a>,
}

impl ClientFrame<'_> {
    /// The frame on its own, without the buffer it was read from: what has to wait for its turn. Nothing
    /// is copied that it owns already.
    pub fn into_owned(self) -> ClientFrame<'static> {
        ClientFrame { id: self.id, op: self.op.into_owned() }
    }

    /// Bytes that it takes once it is [owned](Self::into_owned): itself and what it then has on the heap.
    pub fn owned_bytes(&self) -> usize {
        size_of::<Self>() + self.op.heap_bytes()
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientOp<'a> {
    /// Says who the client is.
    Connect {
        /// The credentials, if the HTTP request did not bring them.
        token: Option<Token<'a>>,
        /// The client's name, for people; at most 64 bytes.
        name: Option<Cow<'a, str>>,
        /// The client's version, for people; at most 64 bytes.
        version: Option<Cow<'a, str>>,
    },
    /// Asks for publications of the past.
    History {
        /// The topic that they were published to.
        topic: TopicRef<'a>,
        /// The position after which they begin.
        since: Option<Position>,
        /// The most publications that are wanted: the oldest after `since`, or without `since` the newest.
        limit: Option<u64>,
    },
    /// Asks for a `pong`.
    Ping,
    /// Asks who subscribes.
    Presence {
        /// The topic that they subscribe to.
        topic: TopicRef<'a>,
        /// The most members that are wanted.
        limit: Option<u64>,
    },
    /// Publishes.
    Publish(Publish<'a>),
    /// Brings new credentials for the same user.
    Refresh {
        /// The credentials that count from now on.
        token: Token<'a>,
    },
    /// Subscribes, or changes a subscription.
    Subscribe(Subscribe<'a>),
    /// Ends a subscription.
    Unsubscribe {
        /// The topic of the subscription.
        topic: TopicRef<'a>,
    },
}

impl ClientOp<'_> {
    /// The request on its own, without the buffer it was read from.
    pub fn into_owned(self) -> ClientOp<'static> {
        match self {
            Self::Connect { token, name, version } => ClientOp::Connect {
                token: token.map(Token::into_owned),
                name: name.map(owned),
                version: version.map(owned),
            },
            Self::History { topic, since, limit } => {
                ClientOp::History { topic: topic.detach(), since, limit }
            }
            Self::Ping => ClientOp::Ping,
            Self::Presence { topic, limit } => ClientOp::Presence { topic: topic.detach(), limit },
            Self::Publish(publish) => ClientOp::Publish(publish.into_owned()),
            Self::Refresh { token } => ClientOp::Refresh { token: token.into_owned() },
            Self::Subscribe(subscribe) => ClientOp::Subscribe(subscribe.into_owned()),
            Self::Unsubscribe { topic } => ClientOp::Unsubscribe { topic: topic.detach() },
        }
    }

    fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
        match self {
            Self::Connect { token, name, version } => {
                token.as_ref().map_or(0, |token| token.0.len()) + text(name) + text(version)
            }
            Self::History { topic, .. } | Self::Presence { topic, .. } | Self::Unsubscribe { topic } => {
                topic.as_str().len()
            }
            Self::Ping => 0,
            Self::Publish(publish) => {
                publish.topic.as_str().len()
                    + publish.payload.as_bytes().len()
                    + text(&publish.message_id)
                    + publish.headers.as_ref().map_or(0, Headers::heap_bytes)
            }
            Self::Refresh { token } => token.0.len(),
            Self::Subscribe(subscribe) => subscribe.topic.as_str().len(),
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// Credentials; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token<'a>(Cow<'a, str>);

impl<'a> Token<'a> {
    /// The token with this text.
    pub fn new(token: impl Into<Cow<'a, str>>) -> Self {
        Self(token.into())
    }

    /// The text, to be checked and then forgotten.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The token on its own, without the buffer it was read from.
    pub fn into_owned(self) -> Token<'static> {
        Token(owned(self.0))
    }
}

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<token>")
    }
}

/// A publication on its way in.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish<'a> {
    /// The topic that it is published to.
    pub topic: TopicRef<'a>,
    /// What is published, passed on as it is.
    pub payload: PayloadRef<'a>,
    /// The id that makes a retry safe: see [`check_message_id`](super::check_message_id) for its bounds.
    pub message_id: Option<Cow<'a, str>>,
    /// Small things beside the payload, for subscribers; the server looks at none.
    pub headers: Option<Headers>,
}

impl Publish<'_> {
    /// The publication on its own, without the buffer it was read from.
    pub fn into_owned(self) -> Publish<'static> {
        let Self { topic, payload, message_id, headers } = self;
        Publish {
            topic: topic.detach(),
            payload: payload.detach(),
            message_id: message_id.map(owned),
            headers,
        }
    }
}

/// A subscription as asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe<'a> {
    /// The topic that is subscribed to.
    pub topic: TopicRef<'a>,
    /// The position to continue after; without it the subscription begins with what is published from now on.
    pub since: Option<Position>,
    /// How many of the newest publications are replayed first; ignored beside `since`.
    pub history: Option<u64>,
    /// Whether the connection's own publications come back; default true.
    pub echo: bool,
    /// Whether to hear of others joining and leaving; default false.
    pub presence: bool,
    /// What happens when the reader falls behind what the topic keeps.
    pub on_lag: OnLag,
}

impl<'a> Subscribe<'a> {
    /// A subscription with the defaults.
    pub fn new(topic: TopicRef<'a>) -> Self {
        Self { topic, since: None, history: None, echo: true, presence: false, on_lag: OnLag::Gap }
    }

    /// The request on its own, without the buffer it was read from.
    pub fn into_owned(self) -> Subscribe<'static> {
        let Self { topic, since, history, echo, presence, on_lag } = self;
        Subscribe { topic: topic.detach(), since, history, echo, presence, on_lag }
    }
}

/// What happens to a subscription whose reader fell behind what its topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnLag {
    /// The broker closes the connection with 4508, as a client may come back and resume. (The Rust client ends the one
    /// subscription instead, and asks the broker for [`Gap`](Self::Gap).)
    Disconnect,
    /// The subscription skips to the oldest publication kept, and the reader is told what it missed.
    #[default]
    Gap,
    /// The subscription skips to the newest publication, and the reader is told what it missed.
    Latest,
}

impl OnLag {
    /// The policy as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Gap => "gap",
            Self::Latest => "latest",
        }
    }

    /// The policy of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Disconnect, Self::Gap, Self::Latest].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// A frame that was understood as far as being one, and then refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// The frame's id, where it could be read.
    pub id: Option<RequestId>,
    /// The frame's topic as it was written, where it could be read and is not too long to repeat.
    pub topic: Option<String>,
    /// Why it was refused, for programs.
    pub code: ErrorCode,
    /// Why it was refused, for people.
    pub message: String,
}
