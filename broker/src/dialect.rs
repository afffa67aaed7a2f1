//! How a connection speaks: messages into asks, replies and events into bytes. Pure.
//!
//! A new way to speak has its place here. It knows no socket, no connection and no topic but by name.

pub(crate) mod asks;
pub(crate) mod native;
pub(crate) mod raw;

use fanfare_protocol::{CloseCode, Codec, Gap, RequestId, TopicName, TopicRef};

use crate::encoding::Encoding;
use crate::metrics::Source;
use crate::operation::Denied;
use crate::topic::Accepted;
use asks::{Asks, Message, Unreadable};

/// A dialect, with what it has to remember.
#[derive(Debug, Clone)]
pub(crate) enum Dialect {
    /// Frames of the native protocol.
    Native(Codec),
    /// Payloads without an envelope, of this one topic.
    Raw(TopicName),
}

/// How somebody is told that something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is written.
    Said,
    /// By closing the connection.
    Close(CloseCode),
}

impl Dialect {
    /// In which form it gets publications.
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Native(Codec::Json) => Encoding::Json,
            Self::Native(Codec::MessagePack) => Encoding::MessagePack,
            Self::Raw(_) => Encoding::Raw,
        }
    }

    /// Whether each message is one ask.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self, Self::Raw(_))
    }

    /// Where its publications come from, for the metrics.
    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Native(_) => Source::WebSocket,
            Self::Raw(_) => Source::Raw,
        }
    }

    /// What a message asks for.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn read<'m>(&'m self, message: Message<'m>) -> Result<Asks<'m>, Unreadable> {
        match self {
            Self::Native(codec) => native::read(*codec, message).map(|asks| Asks::Many(asks.into_iter())),
            Self::Raw(topic) => Ok(Asks::One(Some(raw::read(topic, message)))),
        }
    }

    /// Writes that a publication was taken, if that was asked for.
    pub(crate) fn published(
        &self,
        id: Option<RequestId>,
        topic: TopicRef<'_>,
        accepted: Accepted,
        out: &mut Vec<u8>,
    ) {
        if let (Self::Native(codec), Some(id)) = (self, id) {
            native::put_published(*codec, id, topic, accepted, out);
        }
    }

    /// Tells that something is refused.
    pub(crate) fn refused(
        &self,
        id: Option<RequestId>,
        topic: Option<&str>,
        denied: &Denied,
        out: &mut Vec<u8>,
    ) -> Refused {
        match self {
            Self::Native(codec) => {
                native::put_error(*codec, id, topic, denied, out);
                Refused::Said
            }
            Self::Raw(_) => Refused::Close(raw::close_code(denied.code)),
        }
    }

    /// Tells that publications were missed, where it can be told: a raw connection is closed instead, unless it asked for
    /// the newest alone.
    pub(crate) fn gap(&self, gap: Gap<'_>, out: &mut Vec<u8>) {
        if let Self::Native(codec) = self {
            native::put(*codec, &fanfare_protocol::ServerFrame::Gap(gap), out);
        }
    }
}
