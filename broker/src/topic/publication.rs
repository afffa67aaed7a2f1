//! A publication, encoded once for all its subscribers. [hot; life of a publication: step 5]

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use fanfare_protocol::{
    Author, Codec, Headers, Message, Offset, Payload, PayloadKind, ServerFrame, TopicName, TopicRef,
};
use tokio::time::Instant;

use crate::budget::{Budget, Charge};
use crate::encoding::Encoding;
use crate::ids::ConnectionId;
use crate::websocket::{Outgoing, put_frame, put_frame_with};

/// What a publication costs beside its bytes.
const OVERHEAD_BYTES: usize = 256;

/// A publication that has no position yet.
#[derive(Debug)]
pub struct Unpositioned {
    /// What is published.
    pub payload: Payload,
    /// Makes a retry safe.
    pub message_id: Option<Box<str>>,
    /// Small things beside the payload.
    pub headers: Option<Headers>,
    /// Who publishes, as the broker knows.
    pub user: Option<Arc<str>>,
    /// Which connection publishes; HTTP requests have none.
    pub origin: Option<ConnectionId>,
    /// When it was received.
    pub received: Instant,
}

/// One stored, delivered item of a topic.
#[derive(Debug)]
pub struct Publication {
    /// Its topic.
    pub topic: TopicName,
    /// Its place in the topic's epoch.
    pub offset: Offset,
    /// When the broker took it, in Unix milliseconds.
    pub time: u64,
    /// What was published.
    pub content: Unpositioned,
    /// Apart, for most publications of most topics are never asked for one.
    frames: OnceLock<Box<Frames>>,
    charge: Charge,
}

/// With the counts of its `Arc` it fits in three cache lines.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Publication>() + 16 <= 192);

/// The complete WebSocket frame in each encoding, made when the first subscriber needs it.
type Frames = [OnceLock<Box<[u8]>>; Encoding::ALL.len()];

impl Publication {
    pub(crate) fn new(
        topic: TopicName,
        offset: Offset,
        time: u64,
        content: Unpositioned,
        budget: &Arc<Budget>,
    ) -> Self {
        let charge = budget.charge(Self::size_of(&content));
        Self { topic, offset, time, content, frames: OnceLock::new(), charge }
    }

    /// Bytes that count against a topic's history.
    pub fn size_of(content: &Unpositioned) -> usize {
        OVERHEAD_BYTES
            + content.payload.as_bytes().len()
            + content.message_id.as_ref().map_or(0, |id| id.len())
            + content.headers.as_ref().map_or(0, Headers::heap_bytes)
    }

    /// The complete WebSocket frame, the same for every subscriber of that encoding.
    pub fn frame(&self, encoding: Encoding) -> &[u8] {
        let frames = self.frames.get_or_init(|| {
            self.charge.grow(size_of::<Frames>());
            Box::default()
        });
        frames[encoding as usize].get_or_init(|| {
            let frame = self.encode(encoding).into_boxed_slice();
            self.charge.grow(frame.len());
            frame
        })
    }

    fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let payload = &self.content.payload;
        let mut out = Vec::with_capacity(payload.as_bytes().len() + 128);
        match encoding.codec() {
            Some(codec) => put_frame_with(&mut out, message_kind(codec), |out| {
                codec.encode_server(&ServerFrame::Message(self.message()), out);
            }),
            None => {
                let kind = match payload.kind() {
                    PayloadKind::Binary => Outgoing::Binary,
                    PayloadKind::Json | PayloadKind::Text => Outgoing::Text,
                };
                put_frame(&mut out, kind, payload.as_bytes());
            }
        }
        out
    }

    /// The publication as the protocol tells it.
    pub fn message(&self) -> Message<'_> {
        Message {
            topic: TopicRef::from(&self.topic),
            offset: self.offset,
            time: self.time,
            payload: self.content.payload.as_ref(),
            message_id: self.content.message_id.as_deref().map(Cow::Borrowed),
            headers: self.content.headers.as_ref().map(Cow::Borrowed),
            from: self.content.user.as_deref().map(|user| Author { user: Cow::Borrowed(user) }),
        }
    }
}

/// The kind of WebSocket message that carries a codec's frames.
pub fn message_kind(codec: Codec) -> Outgoing {
    match codec {
        Codec::Json => Outgoing::Text,
        Codec::MessagePack => Outgoing::Binary,
    }
}
