//! Frames of the native protocol, in either codec.

use std::borrow::Cow;

use fanfare_protocol::{
    ClientFrame, CloseCode, Codec, ErrorFrame, FrameError, Gap, RequestId, ServerFrame, Subscribed, TopicRef,
};

use super::message::{Unreadable, WebSocketMessage};
use super::reply::Reply;
use crate::operation::Denied;
use crate::operation::read::TopicHistory;
use crate::topic::Accepted;
use crate::topic::publication::{Publication, message_kind};
use crate::websocket::put_frame_with;

/// The frames of a message.
///
/// # Errors
/// [`Unreadable`]: the wrong kind of message, or no frames.
pub(super) fn read(
    codec: Codec,
    message: WebSocketMessage<'_>,
) -> Result<Vec<Result<ClientFrame<'_>, FrameError>>, Unreadable> {
    let frames = match (codec, message) {
        (Codec::Json, WebSocketMessage::Text(text)) => Codec::decode_client_text(text),
        (Codec::MessagePack, WebSocketMessage::Binary(bytes)) => codec.decode_client(bytes),
        (Codec::Json, WebSocketMessage::Binary(_)) => {
            return Err(unsupported("this connection speaks JSON, in text messages"));
        }
        (Codec::MessagePack, WebSocketMessage::Text(_)) => {
            return Err(unsupported("this connection speaks MessagePack, in binary messages"));
        }
    };
    frames.map_err(|error| Unreadable {
        code: CloseCode::BAD_FRAME,
        reason: error.to_string(),
        is_said: true,
    })
}

fn unsupported(why: &str) -> Unreadable {
    Unreadable { code: CloseCode::UNSUPPORTED, reason: why.into(), is_said: false }
}

/// Writes a reply; nothing where a publication was taken of which nobody asked to hear.
pub(super) fn put_reply(codec: Codec, id: Option<RequestId>, reply: Reply<'_>, out: &mut Vec<u8>) {
    let frame = match reply {
        Reply::Published { topic, accepted } => {
            let Accepted { position, is_duplicate: duplicate } = accepted;
            if id.is_none() {
                return;
            }
            ServerFrame::Published { id, topic, position, duplicate }
        }
        Reply::Pong => ServerFrame::Pong { id },
        Reply::Connected { connection, user, ping_interval, message_size, expires_at } => {
            ServerFrame::Connected {
                id,
                connection: connection.to_string().into(),
                user: user.map(Cow::Borrowed),
                server: concat!("fanfare/", env!("CARGO_PKG_VERSION")).into(),
                ping_interval_ms: ping_interval.as_millis() as u64,
                message_size: Some(message_size),
                expires_at,
            }
        }
        Reply::History { topic, kept } => history(id, topic, kept),
        Reply::Refreshed { expires_at } => ServerFrame::Refreshed { id, expires_at },
        Reply::Subscribed { topic, position, recovery, replayed } => {
            ServerFrame::Subscribed(Subscribed { id, topic, position, recovery, replayed })
        }
        Reply::Unsubscribed { topic } => ServerFrame::Unsubscribed { id, topic, code: None, message: None },
    };
    put(codec, &frame, out);
}

/// Writes that publications were missed.
pub(super) fn put_gap(codec: Codec, gap: Gap<'_>, out: &mut Vec<u8>) {
    put(codec, &ServerFrame::Gap(gap), out);
}

/// Writes that the credentials expire then, in Unix milliseconds.
pub(super) fn put_expiring(codec: Codec, expires_at: u64, out: &mut Vec<u8>) {
    put(codec, &ServerFrame::Expiring { expires_at }, out);
}

/// Writes that a subscription has ended that nobody asked to end.
pub(super) fn put_ended(codec: Codec, topic: TopicRef<'_>, denied: &Denied, out: &mut Vec<u8>) {
    let (code, message) = (Some(denied.code), Some(Cow::Borrowed(denied.message.as_str())));
    put(codec, &ServerFrame::Unsubscribed { id: None, topic, code, message }, out);
}

/// Writes that something is refused.
pub(super) fn put_error(
    codec: Codec,
    id: Option<RequestId>,
    topic: Option<&str>,
    denied: &Denied,
    out: &mut Vec<u8>,
) {
    let error = ErrorFrame {
        id,
        topic: topic.map(Cow::Borrowed),
        code: denied.code,
        message: Cow::Borrowed(&denied.message),
        retryable: denied.code.is_retryable(),
        retry_after_ms: denied.retry_after.map(|after| after.as_millis() as u64),
    };
    put(codec, &ServerFrame::Error(error), out);
}

/// Writes a frame, as a WebSocket message.
fn put(codec: Codec, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    put_frame_with(out, message_kind(codec), |out| codec.encode_server(frame, out));
}

/// What a topic keeps, as a frame: a reply, and over HTTP the whole answer.
pub(crate) fn history<'k>(
    id: Option<RequestId>,
    topic: &'k TopicRef<'_>,
    kept: &'k TopicHistory,
) -> ServerFrame<'k> {
    let (head, publications) = kept;
    ServerFrame::History {
        id,
        topic: topic.borrowed(),
        epoch: head.epoch,
        offset: head.offset,
        messages: publications.iter().map(|publication| publication.message(topic.borrowed())).collect(),
    }
}

/// Bytes that a publication of that topic has within a `history`, at most; it is hardly ever less.
pub(crate) fn size_in_history(codec: Codec, topic: &TopicRef<'_>, publication: &Publication) -> usize {
    codec.message_len_max(&publication.message(topic.borrowed()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use fanfare_protocol::{Epoch, ErrorCode, Offset, Payload, Position, Recovery};

    use super::*;
    use crate::bench::publications;
    use crate::ids::ConnectionId;
    use crate::websocket::frame_length;

    const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    fn topic() -> TopicRef<'static> {
        TopicRef::new("t").expect("a topic name")
    }

    fn position() -> Position {
        Position { epoch: Epoch::from_number(1), offset: Offset::new(7) }
    }

    /// The frames of what must be one whole WebSocket message of the codec's kind.
    fn said(codec: Codec, bytes: &[u8]) -> Vec<ServerFrame<'_>> {
        assert_eq!((bytes[0], frame_length(bytes)), (message_kind(codec) as u8, bytes.len()));
        let header = if bytes[1] < 126 { 2 } else { 4 };
        codec.decode_server(&bytes[header..]).expect("a frame")
    }

    #[test]
    fn every_reply_is_the_frame_that_the_protocol_has_for_it() {
        let id = RequestId::new(5);
        let kept: TopicHistory = (position(), publications(2, &Payload::text("x")));
        let connection = ConnectionId::new(255);
        let name = topic();
        let accepted = Accepted { position: position(), is_duplicate: true };
        let recovery = Some(Recovery::Missed { count: Some(3) });
        let welcome = Reply::Connected {
            connection,
            user: Some("alice"),
            ping_interval: Duration::from_secs(25),
            message_size: 65_536,
            expires_at: Some(1_763_744_400_000),
        };
        let replies = [
            (
                welcome,
                ServerFrame::Connected {
                    id,
                    connection: "ff".into(),
                    user: Some("alice".into()),
                    server: concat!("fanfare/", env!("CARGO_PKG_VERSION")).into(),
                    ping_interval_ms: 25_000,
                    message_size: Some(65_536),
                    expires_at: Some(1_763_744_400_000),
                },
            ),
            (Reply::History { topic: &name, kept: &kept }, history(id, &name, &kept)),
            (Reply::Pong, ServerFrame::Pong { id }),
            (
                Reply::Published { topic: topic(), accepted },
                ServerFrame::Published { id, topic: topic(), position: position(), duplicate: true },
            ),
            (Reply::Refreshed { expires_at: None }, ServerFrame::Refreshed { id, expires_at: None }),
            (Reply::Refreshed { expires_at: Some(7) }, ServerFrame::Refreshed { id, expires_at: Some(7) }),
            (
                Reply::Subscribed { topic: topic(), position: position(), recovery, replayed: 2 },
                ServerFrame::Subscribed(Subscribed {
                    id,
                    topic: topic(),
                    position: position(),
                    recovery,
                    replayed: 2,
                }),
            ),
            (
                Reply::Unsubscribed { topic: topic() },
                ServerFrame::Unsubscribed { id, topic: topic(), code: None, message: None },
            ),
        ];
        for (reply, expected) in replies {
            for codec in CODECS {
                let mut out = Vec::new();
                put_reply(codec, id, reply.clone(), &mut out);
                assert_eq!(said(codec, &out), std::slice::from_ref(&expected));
            }
        }
    }

    #[test]
    fn of_a_publication_is_said_what_was_asked_for() {
        for codec in CODECS {
            let accepted = Accepted { position: position(), is_duplicate: false };
            let mut out = Vec::new();
            put_reply(codec, None, Reply::Published { topic: topic(), accepted }, &mut out);
            assert!(out.is_empty(), "without an id nobody wants to know");
            put_reply(codec, None, Reply::Pong, &mut out);
            assert_eq!(said(codec, &out), [ServerFrame::Pong { id: None }], "everything else is said");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_said_without_an_id() {
        for codec in CODECS {
            let (mut expiring, mut ended) = (Vec::new(), Vec::new());
            put_expiring(codec, 1_763_744_400_000, &mut expiring);
            assert_eq!(said(codec, &expiring), [ServerFrame::Expiring { expires_at: 1_763_744_400_000 }]);
            put_ended(codec, topic(), &Denied::new(ErrorCode::Forbidden, "why"), &mut ended);
            let unsubscribed = ServerFrame::Unsubscribed {
                id: None,
                topic: topic(),
                code: Some(ErrorCode::Forbidden),
                message: Some("why".into()),
            };
            assert_eq!(said(codec, &ended), [unsubscribed]);
        }
    }

    #[test]
    fn a_refusal_says_of_what_and_whether_to_try_again() {
        for (code, retryable) in [(ErrorCode::Forbidden, false), (ErrorCode::Unavailable, true)] {
            for codec in CODECS {
                let mut out = Vec::new();
                put_error(codec, RequestId::new(1), Some("room:1"), &Denied::new(code, "why"), &mut out);
                let error = ErrorFrame {
                    id: RequestId::new(1),
                    topic: Some("room:1".into()),
                    code,
                    message: "why".into(),
                    retryable,
                    retry_after_ms: None,
                };
                assert_eq!(said(codec, &out), [ServerFrame::Error(error)]);
            }
        }
    }

    #[test]
    fn a_message_that_is_no_frame_ends_the_connection_and_only_one_of_its_kind_is_told_why() {
        let wrong_kind = read(Codec::Json, WebSocketMessage::Binary(b"{}")).expect_err("JSON is text");
        assert_eq!((wrong_kind.code, wrong_kind.is_said), (CloseCode::UNSUPPORTED, false));
        let wrong_kind =
            read(Codec::MessagePack, WebSocketMessage::Text("{}")).expect_err("MessagePack is binary");
        assert_eq!((wrong_kind.code, wrong_kind.is_said), (CloseCode::UNSUPPORTED, false));
        let no_frame = read(Codec::Json, WebSocketMessage::Text("no JSON")).expect_err("it is none");
        assert_eq!((no_frame.code, no_frame.is_said), (CloseCode::BAD_FRAME, true));
    }

    #[test]
    fn a_publication_takes_no_more_in_a_history_than_is_said_before() {
        let publications = publications(3, &Payload::text("\"quoted\""));
        let sizes =
            |codec| publications.iter().map(move |p| size_in_history(codec, &topic(), p)).sum::<usize>();
        for codec in CODECS {
            let kept: TopicHistory = (position(), publications.iter().map(Arc::clone).collect());
            let (mut all, mut none) = (Vec::new(), Vec::new());
            codec.encode_server(&history(None, &topic(), &kept), &mut all);
            codec.encode_server(&history(None, &topic(), &(position(), Vec::new())), &mut none);
            let written = all.len() - none.len();
            assert!(written <= sizes(codec) + publications.len(), "{written} bytes");
        }
    }
}
