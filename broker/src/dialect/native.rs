//! Frames of the native protocol.

use std::borrow::Cow;

use fanfare_protocol::{CloseCode, Codec, ErrorFrame, RequestId, ServerFrame, TopicRef};

use super::asks::{Ask, Message, Unreadable};
use crate::operation::Denied;
use crate::topic::Accepted;
use crate::topic::publication::message_kind;
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

/// Writes a frame, as a WebSocket message.
pub(crate) fn put(codec: Codec, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    put_frame_with(out, message_kind(codec), |out| codec.encode_server(frame, out));
}

pub(super) fn put_published(
    codec: Codec,
    id: RequestId,
    topic: TopicRef<'_>,
    accepted: Accepted,
    out: &mut Vec<u8>,
) {
    let Accepted { position, is_duplicate: duplicate } = accepted;
    put(codec, &ServerFrame::Published { id: Some(id), topic, position, duplicate }, out);
}

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
