//! How a connection speaks: messages into frames, replies and events into bytes. Pure.
//!
//! A new way to speak has its place here. It must not know a socket, a connection, or a topic but by its name; and
//! whoever has a dialect must not ask which one it is: what depends on that is asked here, by what is meant.

pub(crate) mod message;
pub(crate) mod native;
mod raw;
pub(crate) mod reply;

use fanfare_protocol::{CloseCode, Codec, Gap, OnLag, RequestId, TopicName, TopicRef};

use crate::encoding::Encoding;
use crate::operation::Denied;
use crate::source::Source;
use crate::topic::publication::Publication;
use message::{ClientFrames, Unreadable, WebSocketMessage};
use reply::Reply;

/// A dialect, with what it has to remember of its peer.
#[derive(Debug, Clone)]
pub(crate) enum Dialect {
    /// Frames of the native protocol.
    Native(Codec),
    /// Payloads without an envelope, of this one topic.
    Raw(TopicName),
}

/// The way in which a peer is told that something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalForm {
    /// As a reply, which is written.
    Said,
    /// By the code with which its connection is closed.
    Close(CloseCode),
}

impl Dialect {
    /// The form in which a peer gets publications.
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Native(Codec::Json) => Encoding::Json,
            Self::Native(Codec::MessagePack) => Encoding::MessagePack,
            Self::Raw(_) => Encoding::Raw,
        }
    }

    /// The door by which publications come in, for the metrics.
    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Native(_) => Source::WebSocket,
            Self::Raw(_) => Source::Raw,
        }
    }

    /// Whether one message may ask for many things, so that each of them counts against the turn beside the message.
    pub(crate) fn asks_for_many(&self) -> bool {
        match self {
            Self::Native(_) => true,
            Self::Raw(_) => false,
        }
    }

    /// Whether a peer can be told of a refusal and go on. One that cannot is closed by it, so it had better wait than
    /// be refused what it may try again.
    pub(crate) fn says_refusals(&self) -> bool {
        match self {
            Self::Native(_) => true,
            Self::Raw(_) => false,
        }
    }

    /// What becomes of a subscription whose reader fell behind and that asked for this: a peer that cannot be told of
    /// a gap is closed instead, unless it wants the newest alone.
    pub(crate) fn on_lag(&self, asked: OnLag) -> OnLag {
        match (self, asked) {
            (Self::Raw(_), OnLag::Gap) => OnLag::Disconnect,
            (Self::Native(_) | Self::Raw(_), asked) => asked,
        }
    }

    /// What a message asks for.
    ///
    /// # Errors
    /// [`Unreadable`]: the message ends its connection.
    pub(crate) fn read<'m>(&'m self, message: WebSocketMessage<'m>) -> Result<ClientFrames<'m>, Unreadable> {
        match self {
            Self::Native(codec) => {
                native::read(*codec, message).map(|frames| ClientFrames::Many(frames.into_iter()))
            }
            Self::Raw(topic) => Ok(ClientFrames::One(Some(raw::read(topic, message)))),
        }
    }

    /// Writes a reply, where it can be said and was asked for.
    pub(crate) fn reply(&self, id: Option<RequestId>, reply: Reply<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Native(codec) => native::put_reply(*codec, id, reply, out),
            Self::Raw(_) => {}
        }
    }

    /// Writes that something is refused, or says how else it is to be told.
    pub(crate) fn refused(
        &self,
        id: Option<RequestId>,
        topic: Option<&str>,
        denied: &Denied,
        out: &mut Vec<u8>,
    ) -> RefusalForm {
        match self {
            Self::Native(codec) => {
                native::put_error(*codec, id, topic, denied, out);
                RefusalForm::Said
            }
            Self::Raw(_) => RefusalForm::Close(raw::close_code(denied.code)),
        }
    }

    /// Writes that a subscription has ended that its peer did not end, or says how else it is to be told.
    pub(crate) fn ended(&self, topic: TopicRef<'_>, denied: &Denied, out: &mut Vec<u8>) -> RefusalForm {
        match self {
            Self::Native(codec) => {
                native::put_ended(*codec, topic, denied, out);
                RefusalForm::Said
            }
            Self::Raw(_) => RefusalForm::Close(raw::close_code(denied.code)),
        }
    }

    /// Writes that the credentials expire then, in Unix milliseconds, where it can be said.
    pub(crate) fn expiring(&self, expires_at: u64, out: &mut Vec<u8>) {
        match self {
            Self::Native(codec) => native::put_expiring(*codec, expires_at, out),
            Self::Raw(_) => {}
        }
    }

    /// Writes that publications were missed, where it can be said: see [`on_lag`](Self::on_lag).
    pub(crate) fn gap(&self, gap: Gap<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Native(codec) => native::put_gap(*codec, gap, out),
            Self::Raw(_) => {}
        }
    }

    /// Bytes that a publication of that topic has within the reply to `history`, at most.
    pub(crate) fn size_in_history(&self, topic: &TopicRef<'_>, publication: &Publication) -> usize {
        match self {
            Self::Native(codec) => native::size_in_history(*codec, topic, publication),
            Self::Raw(_) => publication.content.payload.as_bytes().len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{ClientOp, Epoch, ErrorCode, Offset, TopicRef};

    use super::*;

    fn raw() -> Dialect {
        Dialect::Raw("t".parse().expect("a topic name"))
    }

    fn natives() -> [Dialect; 2] {
        [Dialect::Native(Codec::Json), Dialect::Native(Codec::MessagePack)]
    }

    fn gap() -> Gap<'static> {
        Gap {
            topic: TopicRef::new("t").expect("a topic name"),
            epoch: Epoch::from_number(1),
            from: Offset::new(1),
            to: Offset::new(2),
            missed: Some(2),
        }
    }

    #[test]
    fn whoever_cannot_be_told_of_a_gap_never_has_one() {
        for dialect in natives().into_iter().chain([raw()]) {
            for asked in [OnLag::Disconnect, OnLag::Gap, OnLag::Latest] {
                let on_lag = dialect.on_lag(asked);
                let mut out = Vec::new();
                dialect.gap(gap(), &mut out);
                assert!(on_lag != OnLag::Gap || !out.is_empty(), "{dialect:?}");
                assert!(
                    on_lag == asked || out.is_empty(),
                    "who can be told has what it asked for: {dialect:?}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_is_said_or_closes_the_connection() {
        for dialect in natives().into_iter().chain([raw()]) {
            for (code, close) in [
                (ErrorCode::Forbidden, CloseCode::FORBIDDEN),
                (ErrorCode::Unauthorized, CloseCode::UNAUTHORIZED),
                (ErrorCode::RateLimited, CloseCode::RATE_LIMITED),
                (ErrorCode::Unavailable, CloseCode::UNAVAILABLE),
                (ErrorCode::LimitExceeded, CloseCode::UNAVAILABLE),
            ] {
                let mut out = Vec::new();
                let how = dialect.refused(None, None, &Denied::new(code, "why"), &mut out);
                let expected =
                    if dialect.says_refusals() { RefusalForm::Said } else { RefusalForm::Close(close) };
                assert_eq!(how, expected, "{dialect:?}");
                assert_eq!(out.is_empty(), !dialect.says_refusals(), "{dialect:?}");
            }
        }
    }

    #[test]
    fn a_raw_message_is_a_publication_to_its_topic_and_nothing_is_said_of_it() {
        let raw = raw();
        let mut frames = raw.read(WebSocketMessage::Text("{\"type\":\"ping\"}")).expect("any message is one");
        let Some(Ok(frame)) = frames.next() else { panic!("it asks for something") };
        let ClientOp::Publish(publish) = frame.op else { panic!("it is opaque: {:?}", frame.op) };
        assert_eq!((publish.topic.as_str(), frame.id), ("t", None));
        assert_eq!(publish.payload.as_bytes(), b"{\"type\":\"ping\"}");
        assert!(frames.next().is_none() && !raw.asks_for_many());
        let mut out = Vec::new();
        raw.reply(None, Reply::Pong, &mut out);
        assert!(out.is_empty());
    }
}
