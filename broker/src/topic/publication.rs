//! A publication, and its bytes for each kind of subscriber. [hot; life of a publication: step 5]

use std::borrow::Cow;
use std::sync::Arc;

use fanfare_protocol::{
    Author, Codec, Headers, Message, Offset, Payload, PayloadKind, ServerFrame, TopicRef,
};

use crate::budget::{Budget, allocated_bytes};
use crate::clock::Moment;
use crate::encoding::Encoding;
use crate::ids::ConnectionId;
use crate::websocket::{Outgoing, put_frame, put_frame_about};

/// Bytes that a frame has beside the payload, hardly ever less: where the two are too long for the short header, room
/// is left for the long one.
const ENVELOPE_BYTES: usize = 64;

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
    pub received: Moment,
}

impl Unpositioned {
    /// One that holds nothing.
    fn hollow(received: Moment) -> Self {
        let payload = Payload::text("");
        Self { payload, message_id: None, headers: None, user: None, origin: None, received }
    }
}

/// One stored, delivered item of a topic. It has no frames: they are written where they go, for as often as that is
/// once a worker, to keep them costs more than to write them.
#[derive(Debug)]
pub struct Publication {
    /// Its place in the topic's epoch.
    pub offset: Offset,
    /// When the broker took it, in Unix milliseconds.
    pub time: u64,
    /// What was published.
    pub content: Unpositioned,
    /// What it is charged to, until it is dropped.
    budget: Option<Arc<Budget>>,
}

/// What a publication takes beside its bytes, with the counts of its `Arc`.
const OWN_BYTES: usize = size_of::<Publication>() + 16;

/// With the counts of its `Arc` it is two cache lines.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(OWN_BYTES <= 128);

impl Publication {
    pub(crate) fn new(offset: Offset, time: u64, content: Unpositioned, budget: &Arc<Budget>) -> Self {
        budget.take(Self::size_of(&content));
        Self { offset, time, content, budget: Some(Arc::clone(budget)) }
    }

    /// Bytes that count against a topic's `history_size`, whatever the allocator makes of them.
    pub fn history_bytes(content: &Unpositioned) -> usize {
        Self::bytes(content, |bytes| bytes)
    }

    /// Bytes that it takes, as the allocator rounds them: what counts against the budget.
    pub fn size_of(content: &Unpositioned) -> usize {
        Self::bytes(content, allocated_bytes)
    }

    /// Bytes of each of its allocations, as they are `counted`, together.
    fn bytes(content: &Unpositioned, counted: impl Fn(usize) -> usize) -> usize {
        counted(OWN_BYTES)
            + counted(content.payload.as_bytes().len())
            + content.message_id.as_ref().map_or(0, |id| counted(id.len()))
            + content.headers.as_ref().map_or(0, |headers| counted(headers.heap_bytes()))
    }

    /// What it was made of, given back.
    pub(super) fn into_content(mut self) -> Unpositioned {
        self.give_back();
        let hollow = Unpositioned::hollow(self.content.received);
        std::mem::replace(&mut self.content, hollow)
    }

    fn give_back(&mut self) {
        if let Some(budget) = self.budget.take() {
            budget.give_back(Self::size_of(&self.content));
        }
    }

    /// Bytes that its frame has, about: hardly ever less.
    pub(crate) fn frame_len(&self, encoding: Encoding) -> usize {
        let about = self.content.payload.as_bytes().len() + 16;
        if encoding.codec().is_some() { about + ENVELOPE_BYTES } else { about }
    }

    /// Appends the complete WebSocket frame, the same for every subscriber of that encoding to `topic`, which is its own.
    pub fn put_frame(&self, topic: TopicRef<'_>, encoding: Encoding, out: &mut Vec<u8>) {
        let payload = &self.content.payload;
        match encoding.codec() {
            Some(codec) => {
                let about = payload.as_bytes().len() + ENVELOPE_BYTES;
                put_frame_about(out, message_kind(codec), about, |out| {
                    codec.encode_server(&ServerFrame::Message(self.message(topic)), out);
                });
            }
            None => {
                let kind = match payload.kind() {
                    PayloadKind::Binary => Outgoing::Binary,
                    PayloadKind::Json | PayloadKind::Text => Outgoing::Text,
                };
                put_frame(out, kind, payload.as_bytes());
            }
        }
    }

    /// The publication as the protocol tells it, of `topic`, which is its own.
    pub fn message<'p>(&'p self, topic: TopicRef<'p>) -> Message<'p> {
        Message {
            topic,
            offset: self.offset,
            time: self.time,
            payload: self.content.payload.as_ref(),
            message_id: self.content.message_id.as_deref().map(Cow::Borrowed),
            headers: self.content.headers.as_ref().map(Cow::Borrowed),
            from: self.content.user.as_deref().map(|user| Author { user: Cow::Borrowed(user) }),
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The kind of WebSocket message that carries a codec's frames.
pub fn message_kind(codec: Codec) -> Outgoing {
    match codec {
        Codec::Json => Outgoing::Text,
        Codec::MessagePack => Outgoing::Binary,
    }
}
