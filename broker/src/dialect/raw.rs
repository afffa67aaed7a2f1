//! Payloads without an envelope, one topic a connection.

use std::borrow::Cow;

use fanfare_protocol::{
    ClientFrame, ClientOp, CloseCode, ErrorCode, PayloadRef, Publish, TopicName, TopicRef,
};

use super::message::WebSocketMessage;

/// What a message asks for: to be published to the connection's topic, whatever is in it.
pub(super) fn read<'m>(topic: &'m TopicName, message: WebSocketMessage<'m>) -> ClientFrame<'m> {
    let payload = match message {
        WebSocketMessage::Text(text) => PayloadRef::Text(Cow::Borrowed(text)),
        WebSocketMessage::Binary(bytes) => PayloadRef::Binary(Cow::Borrowed(bytes)),
    };
    let publish = Publish { topic: TopicRef::from(topic), payload, message_id: None, headers: None };
    ClientFrame { id: None, op: ClientOp::Publish(publish) }
}

/// The close code that tells of a refusal: nothing else can be said.
pub(super) fn close_code(code: ErrorCode) -> CloseCode {
    match code {
        ErrorCode::Forbidden => CloseCode::FORBIDDEN,
        ErrorCode::RateLimited => CloseCode::RATE_LIMITED,
        ErrorCode::Unauthorized => CloseCode::UNAUTHORIZED,
        _ => CloseCode::UNAVAILABLE,
    }
}
