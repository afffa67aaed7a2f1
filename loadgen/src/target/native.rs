//! Fanfare's own protocol, in JSON or MessagePack.

use std::collections::HashMap;

use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, Message, Offset, PayloadRef, Position, Publish, Recovery, RequestId,
    ServerFrame, Subscribe, TopicName,
};

use super::event::{Event, Place, bare};
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::payload::Stamp;

/// One message in so many is decoded whole though its payload alone would do.
const DECODE_EVERY: u64 = 64;

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct Native {
    codec: Codec,
    size: usize,
    /// How many publications came. Each connection counts from its own number: not all decode the same one,
    /// which then would be slower than the others.
    delivered: u64,
    /// In the order in which they were asked for.
    subscriptions: Vec<TopicName>,
    /// Of each subscription, where somebody wants to know.
    positions: Option<HashMap<TopicName, Position>>,
}

impl Native {
    /// The talk on connection `number`, about payloads of `size` bytes.
    pub(super) fn new(codec: Codec, size: usize, number: u64) -> Self {
        Self { codec, size, delivered: number, subscriptions: Vec::new(), positions: None }
    }

    pub(super) fn follow_positions(&mut self) {
        self.positions.get_or_insert_default();
    }

    pub(super) fn position(&self, topic: &TopicName) -> Option<Position> {
        self.positions.as_ref()?.get(topic).copied()
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, since: Option<Position>, out: &mut Outgoing) {
        self.subscriptions.push(topic.clone());
        let subscribe = Subscribe { since, ..Subscribe::new(topic.into()) };
        self.write(&ClientFrame { id: None, op: ClientOp::Subscribe(subscribe) }, out);
    }

    pub(super) fn publish(
        &mut self,
        topic: &TopicName,
        payload: &[u8],
        confirm: Option<u64>,
        out: &mut Outgoing,
    ) {
        let text = std::str::from_utf8(payload).expect("a stamped payload is ASCII");
        let payload = PayloadRef::json(text).expect("a stamped payload is a JSON string");
        let publish = Publish { topic: topic.into(), payload, message_id: None, headers: None };
        let id = confirm.and_then(RequestId::new);
        self.write(&ClientFrame { id, op: ClientOp::Publish(publish) }, out);
    }

    pub(super) fn ping(&self, n: u64, out: &mut Outgoing) {
        self.write(&ClientFrame { id: RequestId::new(n), op: ClientOp::Ping }, out);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let single = matches!(message.first(), Some(b'{' | 0x80..=0x8F | 0xDE | 0xDF));
        let found = if single { Stamp::find(message, self.size) } else { None };
        if let Some((stamp, _)) = found
            && self.positions.is_none()
            && !(self.delivered + 1).is_multiple_of(DECODE_EVERY)
        {
            self.delivered += 1;
            return on_event(Event::Delivery(stamp, None));
        }
        let frames = match self.codec.decode_server(message) {
            Ok(frames) => frames,
            // What is around a payload of ours is no reason to hear no more.
            Err(_) if found.is_some() => return on_event(Event::Stray),
            Err(e) => return on_event(Event::Error { id: None, why: e.to_string() }),
        };
        for frame in frames {
            self.follow(&frame);
            on_event(match frame {
                ServerFrame::Message(publication) => self.delivery(&publication),
                other => event(other),
            })?;
        }
        Ok(())
    }

    fn delivery(&mut self, publication: &Message<'_>) -> Event {
        self.delivered += 1;
        let delivery = bare(publication.payload.as_bytes(), self.size);
        let Event::Delivery(stamp, None) = delivery else { return delivery };
        if !self.delivered.is_multiple_of(DECODE_EVERY) {
            return delivery;
        }
        let topic = publication.topic.as_str();
        match self.subscriptions.iter().position(|subscription| subscription.as_str() == topic) {
            Some(subscription) => {
                Event::Delivery(stamp, Some(Place { subscription, offset: publication.offset.get() }))
            }
            None => Event::Stray,
        }
    }

    fn write(&self, frame: &ClientFrame<'_>, out: &mut Outgoing) {
        let mut body = Vec::with_capacity(256);
        self.codec.encode_client(frame, &mut body);
        let opcode = match self.codec {
            Codec::Json => Opcode::Text,
            Codec::MessagePack => Opcode::Binary,
        };
        out.frame(opcode, &[&body]);
    }

    fn follow(&mut self, frame: &ServerFrame<'_>) {
        let Some(positions) = &mut self.positions else { return };
        match frame {
            ServerFrame::Message(publication) => {
                if let Some(position) = positions.get_mut(publication.topic.as_str()) {
                    position.offset = publication.offset;
                }
            }
            ServerFrame::Gap(gap) => {
                let position = Position { epoch: gap.epoch, offset: gap.to };
                positions.insert(gap.topic.to_name(), position);
            }
            ServerFrame::Subscribed(subscribed) => {
                let Position { epoch, offset } = subscribed.position;
                // What is replayed comes after this frame.
                let offset = Offset::new(offset.get().saturating_sub(subscribed.replayed));
                positions.insert(subscribed.topic.to_name(), Position { epoch, offset });
            }
            _ => {}
        }
    }
}

/// What anything but a publication means.
fn event(frame: ServerFrame<'_>) -> Event {
    match frame {
        ServerFrame::Gap(gap) => Event::Gap(gap.missed.unwrap_or(1)),
        ServerFrame::Pong { id: Some(id) } => Event::Pong(id.get()),
        ServerFrame::Published { id: Some(id), .. } => Event::Published(id.get()),
        ServerFrame::Subscribed(subscribed) => {
            let recovery = subscribed.recovery.map(|recovery| match recovery {
                Recovery::Recovered => super::event::Recovery::Replay(subscribed.replayed),
                Recovery::Missed { .. } => super::event::Recovery::Reload,
            });
            Event::Subscribed { recovery }
        }
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
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use fanfare_protocol::{Epoch, ErrorCode, ErrorFrame, Gap, Subscribed};

    use super::*;
    use crate::target::tests::{STAMP, payload};

    const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    fn topic() -> TopicName {
        "loadgen:1:0".parse().expect("a topic name")
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

    fn read(codec: Codec, message: &[u8]) -> Vec<Event> {
        read_with(&mut Native::new(codec, 64, 0), message)
    }

    fn read_with(native: &mut Native, message: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let Ok(()) = native.read(message, |event| {
            events.push(event);
            Ok::<_, Infallible>(())
        });
        events
    }

    fn encoded(codec: Codec, frame: &ServerFrame<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        codec.encode_server(frame, &mut out);
        out
    }

    #[test]
    fn a_publication_is_read_in_both_codecs() {
        let payload = payload(64);
        for codec in CODECS {
            let bytes = encoded(codec, &message(&payload));
            assert_eq!(read(codec, &bytes), [Event::Delivery(STAMP, None)], "{codec:?}");
        }
    }

    #[test]
    fn a_payload_of_another_size_is_a_stray() {
        let payload = payload(65);
        for codec in CODECS {
            let bytes = encoded(codec, &message(&payload));
            assert_eq!(read(codec, &bytes), [Event::Stray], "{codec:?}");
        }
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
        let expected = [Event::Delivery(STAMP, None), Event::Gap(19), Event::Delivery(STAMP, None)];
        assert_eq!(read(Codec::Json, &array), expected);
    }

    #[test]
    fn one_publication_in_64_is_decoded_and_says_where_it_is_from() {
        let payload = payload(64);
        let place = Place { subscription: 1, offset: 9 };
        for codec in CODECS {
            let mut native = Native::new(codec, 64, 3);
            for topic in ["loadgen:1:1", "loadgen:1:0"] {
                native.subscribe(&topic.parse().expect("a topic name"), None, &mut Outgoing::new(0));
            }
            let bytes = encoded(codec, &message(&payload));
            let events: Vec<Event> = (0..125).flat_map(|_| read_with(&mut native, &bytes)).collect();
            let placed = |event: &Event| *event == Event::Delivery(STAMP, Some(place));
            let at: Vec<usize> = (0..125).filter(|n| placed(&events[*n])).collect();
            assert_eq!(at, [60, 124], "{codec:?}");
        }
    }

    #[test]
    fn what_is_wrong_around_a_payload_is_a_stray_where_it_is_decoded() {
        let payload = payload(64);
        let foreign = encoded(Codec::Json, &message(&payload));
        let broken = [b"{what?", &payload[..]].concat();
        for bytes in [foreign, broken] {
            // Subscribed to nothing.
            let mut native = Native::new(Codec::Json, 64, 0);
            let events: Vec<Event> = (0..64).flat_map(|_| read_with(&mut native, &bytes)).collect();
            assert_eq!(events[62..], [Event::Delivery(STAMP, None), Event::Stray]);
        }
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
            retry_after_ms: None,
        });
        for codec in CODECS {
            assert_eq!(read(codec, &encoded(codec, &published)), [Event::Published(7)]);
            let pong = |id| encoded(codec, &ServerFrame::Pong { id });
            assert_eq!(read(codec, &pong(RequestId::new(9))), [Event::Pong(9)]);
            assert_eq!(read(codec, &pong(None)), [Event::Stray], "nobody asks without a number");
            let refused = Event::Error { id: Some(8), why: "refused: too_large: no".into() };
            assert_eq!(read(codec, &encoded(codec, &error)), [refused]);
            assert!(matches!(read(codec, b"!")[..], [Event::Error { .. }]), "not a frame at all");
        }
    }

    #[test]
    fn positions_are_followed_where_somebody_asked() {
        let payload = payload(64);
        let epoch: Epoch = "e".parse().expect("an epoch");
        let head = Position { epoch, offset: Offset::new(8) };
        let recovery = Some(Recovery::Recovered);
        let subscribed =
            Subscribed { id: None, topic: topic().into(), position: head, recovery, replayed: 2 };
        let subscribed = ServerFrame::Subscribed(subscribed);
        for codec in CODECS {
            let mut native = Native::new(codec, 64, 0);
            native.follow_positions();
            assert_eq!(native.position(&topic()), None);
            let events = read_with(&mut native, &encoded(codec, &subscribed));
            assert_eq!(events, [Event::Subscribed { recovery: Some(crate::target::Recovery::Replay(2)) }]);
            let at = |native: &Native| native.position(&topic()).map(|position| position.offset.get());
            assert_eq!(at(&native), Some(6), "two are still to come");
            read_with(&mut native, &encoded(codec, &message(&payload)));
            assert_eq!(at(&native), Some(9));
        }
    }
}
