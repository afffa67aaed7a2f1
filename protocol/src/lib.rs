//! The Fanfare wire protocol, version 1: bytes in, frames out.
//!
//! Three types carry the crate. A [`TopicName`] is a checked name, a [`Position`] says where a
//! publication stands in the life of its topic, and a frame ([`ClientFrame`], [`ServerFrame`]) is one
//! unit of conversation. A [`Codec`] turns frames into bytes and back, as JSON or MessagePack.
//!
//! Nothing here does IO, knows a clock or allocates more than its input is worth. A payload is never
//! parsed and written anew on its way through: see [`Payload`].
//!
//! ```
//! use fanfare_protocol::{ClientFrame, ClientOp, Codec};
//!
//! let text = br#"{"type":"publish","id":4,"topic":"room:42","data":{"text":"hi"}}"#;
//! let frames = Codec::Json.decode_client(text).expect("this is a frame");
//! let ClientFrame { id, op: ClientOp::Publish(publish) } = frames[0].as_ref().expect("well-formed") else {
//!     panic!("expected a publish");
//! };
//! assert_eq!(id.map(|id| id.get()), Some(4));
//! assert_eq!(publish.topic.as_str(), "room:42");
//! assert_eq!(publish.payload.as_bytes(), br#"{"text":"hi"}"#);
//! ```

mod code;
mod codec;
mod frame;
mod headers;
pub mod limits;
mod parsed;
mod payload;
mod position;
mod topic;
mod wire;

pub use code::{CloseCode, CloseRange, ErrorCode};
pub use codec::{Codec, NotAFrame};
pub use frame::{
    Author, ClientFrame, ClientOp, ErrorFrame, FrameError, Gap, Message, OnLag, Publish, Recovery, RequestId,
    ServerFrame, Subscribe, Subscribed, Token, check_message_id,
};
pub use headers::Headers;
pub use payload::{Payload, PayloadKind, PayloadRef};
pub use position::{Epoch, InvalidEpoch, InvalidPosition, Offset, Position};
pub use topic::{InvalidTopic, TopicName, TopicRef};
