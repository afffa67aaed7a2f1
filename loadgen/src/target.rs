//! What is said to a broker and how its messages are read: everything else is the same for all of them.

use std::ops::ControlFlow;

use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, Message, PayloadRef, Publish, RequestId, ServerFrame, Subscribe, TopicName,
};

use crate::payload::Stamp;
use crate::websocket::{Opcode, write_frame};

/// A kind of broker, and the dialect spoken with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Fanfare's own protocol.
    Native(Codec),
    /// Fanfare's raw endpoint: a topic in the path, payloads alone in the frames.
    Raw,
}

/// What a message from the broker means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A publication of this run, or of another one that left its payload here.
    Delivery(Stamp),
    /// The broker refuses something or ends a subscription, and says why.
    Error {
        /// The publication, where a confirmation was asked for.
        id: Option<u64>,
        why: String,
    },
    /// The broker says that so many publications were missed; unknown counts as one.
    Gap(u64),
    /// The publication with this number, and those before it on the connection, arrived.
    Published(u64),
    /// Something that should not be here.
    Stray,
    /// The subscription stands.
    Subscribed,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
}

impl Target {
    /// How it is called in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native(Codec::Json) => "fanfare, json",
            Self::Native(Codec::MessagePack) => "fanfare, msgpack",
            Self::Raw => "fanfare, raw",
        }
    }

    /// Path and query to connect to, from the path of the URL, and the subprotocol to ask for.
    pub(crate) fn path(self, base: &str, role: Role, topic: &TopicName) -> (String, Option<&'static str>) {
        match (self, role) {
            (Self::Native(codec), _) => (base.to_owned(), Some(codec.subprotocol())),
            (Self::Raw, Role::Publisher) => (format!("{base}/{topic}?echo=false"), None),
            (Self::Raw, Role::Subscriber) => (format!("{base}/{topic}"), None),
        }
    }

    /// Whether a publisher needs a connection for each of its topics.
    pub(crate) fn one_topic_per_connection(self) -> bool {
        self == Self::Raw
    }

    /// Appends what a subscriber says first. Nothing where connecting was all: then nothing confirms the
    /// subscription either.
    pub(crate) fn write_subscribe(self, topic: &TopicName, mask: u32, out: &mut Vec<u8>) {
        if let Self::Native(codec) = self {
            let op = ClientOp::Subscribe(Subscribe::new(topic.into()));
            write_native(codec, &ClientFrame { id: RequestId::new(1), op }, mask, out);
        }
    }

    /// Whether a subscription is confirmed by an [`Event::Subscribed`].
    pub(crate) fn confirms_subscriptions(self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Whether publications are confirmed by an [`Event::Published`], where asked for.
    pub(crate) fn confirms_publications(self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Appends a publication of a JSON text; with `confirm` asks for an [`Event::Published`] with that
    /// number, at least 1.
    pub(crate) fn write_publish(
        self,
        topic: &TopicName,
        payload: &[u8],
        confirm: Option<u64>,
        mask: u32,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Native(codec) => {
                let text = std::str::from_utf8(payload).expect("a stamped payload is ASCII");
                let payload = PayloadRef::json(text).expect("a stamped payload is a JSON string");
                let publish = Publish { topic: topic.into(), payload, message_id: None, headers: None };
                let id = confirm.and_then(RequestId::new);
                write_native(codec, &ClientFrame { id, op: ClientOp::Publish(publish) }, mask, out);
            }
            Self::Raw => write_frame(Opcode::Text, payload, mask, out),
        }
    }

    /// Reads one WebSocket message: `on_event` sees what it means, in order, until it breaks off.
    ///
    /// A single publication, which is nearly all there is, is not parsed: its stamp is found by its
    /// marker.
    pub(crate) fn read<B>(
        self,
        message: &[u8],
        payload_size: usize,
        mut on_event: impl FnMut(Event) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let is_map = |first: &u8| matches!(first, b'{' | 0x80..=0x8F | 0xDE | 0xDF);
        match self {
            Self::Native(codec) if !message.first().is_some_and(is_map) => {
                read_frames(codec, message, payload_size, on_event)
            }
            Self::Native(codec) => match Stamp::find(message, payload_size) {
                Some((stamp, _)) => on_event(Event::Delivery(stamp)),
                None => read_frames(codec, message, payload_size, on_event),
            },
            Self::Raw => match Stamp::find(message, payload_size) {
                Some((stamp, [])) => on_event(Event::Delivery(stamp)),
                _ => on_event(Event::Stray),
            },
        }
    }
}

fn write_native(codec: Codec, frame: &ClientFrame<'_>, mask: u32, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(256);
    codec.encode_client(frame, &mut body);
    let opcode = match codec {
        Codec::Json => Opcode::Text,
        Codec::MessagePack => Opcode::Binary,
    };
    write_frame(opcode, &body, mask, out);
}

fn read_frames<B>(
    codec: Codec,
    message: &[u8],
    payload_size: usize,
    mut on_event: impl FnMut(Event) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let frames = match codec.decode_server(message) {
        Ok(frames) => frames,
        Err(e) => return on_event(Event::Error { id: None, why: e.to_string() }),
    };
    for frame in frames {
        on_event(match frame {
            ServerFrame::Message(publication) => delivery(&publication, payload_size),
            ServerFrame::Gap(gap) => Event::Gap(gap.missed.unwrap_or(1)),
            ServerFrame::Published { id: Some(id), .. } => Event::Published(id.get()),
            ServerFrame::Subscribed(_) => Event::Subscribed,
            ServerFrame::Error(error) => Event::Error {
                id: error.id.map(RequestId::get),
                why: format!("refused: {}: {}", error.code, error.message),
            },
            ServerFrame::Unsubscribed { code, message, .. } => {
                let code = code.map_or("no reason given", |code| code.as_str());
                let why = format!("subscription ended: {code}: {}", message.unwrap_or_default());
                Event::Error { id: None, why }
            }
            _ => Event::Stray,
        })?;
    }
    ControlFlow::Continue(())
}

fn delivery(publication: &Message<'_>, payload_size: usize) -> Event {
    match Stamp::find(publication.payload.as_bytes(), payload_size) {
        Some((stamp, [])) => Event::Delivery(stamp),
        _ => Event::Stray,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use fanfare_protocol::{Epoch, ErrorCode, ErrorFrame, Gap, Offset, Position};

    use super::*;

    const STAMP: Stamp = Stamp { measured: true, publisher: 1, topic: 2, sequence: 3, due_ns: 4 };
    const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    fn topic() -> TopicName {
        "loadgen:1:0".parse().expect("a topic name")
    }

    fn payload(size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        STAMP.write(size, &mut out);
        out
    }

    fn message(payload: &[u8]) -> ServerFrame<'_> {
        ServerFrame::Message(Message {
            topic: topic().into(),
            offset: Offset::new(9),
            time: 1,
            payload: PayloadRef::json(std::str::from_utf8(payload).expect("ASCII")).expect("JSON"),
            message_id: None,
            headers: None,
            from: None,
        })
    }

    fn read(target: Target, message: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let ControlFlow::Continue(()) = target.read(message, 64, |event| -> ControlFlow<Infallible> {
            events.push(event);
            ControlFlow::Continue(())
        });
        events
    }

    fn encoded(codec: Codec, frame: &ServerFrame<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        codec.encode_server(frame, &mut out);
        out
    }

    #[test]
    fn a_publication_is_read_in_every_dialect() {
        let payload = payload(64);
        for codec in CODECS {
            let bytes = encoded(codec, &message(&payload));
            assert_eq!(read(Target::Native(codec), &bytes), [Event::Delivery(STAMP)], "{codec:?}");
        }
        assert_eq!(read(Target::Raw, &payload), [Event::Delivery(STAMP)]);
    }

    #[test]
    fn a_payload_of_another_size_is_a_stray() {
        let payload = payload(65);
        for codec in CODECS {
            let bytes = encoded(codec, &message(&payload));
            assert_eq!(read(Target::Native(codec), &bytes), [Event::Stray], "{codec:?}");
        }
        assert_eq!(read(Target::Raw, &payload), [Event::Stray]);
        assert_eq!(read(Target::Raw, b"hello"), [Event::Stray]);
    }

    #[test]
    fn every_frame_of_an_array_is_seen_in_order() {
        let payload = payload(64);
        let epoch: Epoch = "e".parse().expect("an epoch");
        let (from, to) = (Offset::new(1), Offset::new(19));
        let gap = ServerFrame::Gap(Gap { topic: topic().into(), epoch, from, to, missed: Some(19) });
        let frames = [message(&payload), gap, message(&payload)];
        let [first, second, third] = frames.map(|frame| encoded(Codec::Json, &frame));
        let array = [b"[", &first[..], b",", &second, b",", &third, b"]"].concat();
        let expected = [Event::Delivery(STAMP), Event::Gap(19), Event::Delivery(STAMP)];
        assert_eq!(read(Target::Native(Codec::Json), &array), expected);
    }

    #[test]
    fn replies_are_told_apart() {
        let position = Position { epoch: "e".parse().expect("an epoch"), offset: Offset::new(1) };
        let published = ServerFrame::Published {
            id: RequestId::new(7),
            topic: topic().into(),
            position,
            duplicate: false,
        };
        let error = ServerFrame::Error(ErrorFrame {
            id: RequestId::new(8),
            topic: None,
            code: ErrorCode::TooLarge,
            message: "no".into(),
            retryable: false,
        });
        for codec in CODECS {
            let target = Target::Native(codec);
            assert_eq!(read(target, &encoded(codec, &published)), [Event::Published(7)]);
            let refused = Event::Error { id: Some(8), why: "refused: too_large: no".into() };
            assert_eq!(read(target, &encoded(codec, &error)), [refused]);
            assert!(matches!(read(target, b"!")[..], [Event::Error { .. }]), "not a frame at all");
        }
    }
}
