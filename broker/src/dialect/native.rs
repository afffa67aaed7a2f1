//! Frames of the native protocol.

use std::borrow::Cow;

use fanfare_protocol::{CloseCode, Codec, ErrorFrame, Gap, RequestId, ServerFrame, Subscribed, TopicRef};

use super::asks::{Ask, Message, Unreadable};
use super::reply::Reply;
use crate::operation::Denied;
use crate::operation::read::Kept;
use crate::topic::Accepted;
use crate::topic::publication::{Publication, message_kind};
use crate::websocket::put_frame_with;

/// The frames of a message.
///
/// # Errors
/// [`Unreadable`]: the wrong kind of message, or no frames.
pub(super) fn read(codec: Codec, message: Message<'_>) -> Result<Vec<Ask<'_>>, Unreadable> {
    let (came_as, bytes) = match message {
        Message::Text(text) => (Codec::Json, text.as_bytes()),
        Message::Binary(bytes) => (Codec::MessagePack, bytes),
    };
    if came_as != codec {
        let reason = match codec {
            Codec::Json => "this connection speaks JSON, in text messages",
            Codec::MessagePack => "this connection speaks MessagePack, in binary messages",
        };
        return Err(Unreadable { code: CloseCode::UNSUPPORTED, reason: reason.into(), is_said: false });
    }
    codec.decode_client(bytes).map_err(|error| Unreadable {
        code: CloseCode::BAD_FRAME,
        reason: error.to_string(),
        is_said: true,
    })
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
        Reply::Connected { connection, user, ping_interval, message_size } => ServerFrame::Connected {
            id,
            connection: connection.to_string().into(),
            user: user.map(Cow::Borrowed),
            server: concat!("fanfare/", env!("CARGO_PKG_VERSION")).into(),
            ping_interval_ms: ping_interval.as_millis() as u64,
            message_size: Some(message_size),
            expires_at: None,
        },
        Reply::History { topic, kept } => history(id, topic, kept),
        Reply::Refreshed => ServerFrame::Refreshed { id, expires_at: None },
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
    };
    put(codec, &ServerFrame::Error(error), out);
}

/// Writes a frame, as a WebSocket message.
fn put(codec: Codec, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    put_frame_with(out, message_kind(codec), |out| codec.encode_server(frame, out));
}

/// What a topic keeps, as a frame: a reply, and over HTTP the whole answer.
pub(crate) fn history<'k>(id: Option<RequestId>, topic: TopicRef<'k>, kept: &'k Kept) -> ServerFrame<'k> {
    let (head, publications) = kept;
    ServerFrame::History {
        id,
        topic,
        epoch: head.epoch,
        offset: head.offset,
        messages: publications.iter().map(|publication| publication.message()).collect(),
    }
}

/// Bytes that a publication has within a `history`, at most; it is hardly ever less.
pub(crate) fn size_in_history(codec: Codec, publication: &Publication) -> usize {
    codec.message_len_max(&publication.message())
}
