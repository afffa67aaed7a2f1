//! MQTT 3.1.1: packets in a byte stream. QoS 0, so publications are not confirmed.

use fanfare_protocol::TopicName;

use super::event::{Event, bare};
use super::stream::Stream;
use crate::wire::outgoing::{Opcode, Outgoing};

/// With a clean session, 60,000 s between pings, and an id of the server's choice.
const CONNECT: &[u8] = b"\x10\x0C\x00\x04MQTT\x04\x02\xEA\x60\x00\x00";
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
/// A subscription that was refused.
const FAILURE: u8 = 0x80;

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct Mqtt {
    size: usize,
    /// Bounded by the largest packet of the protocol, 256 MiB.
    stream: Stream,
    subscriptions: u16,
}

impl Mqtt {
    pub(super) fn new(size: usize) -> Self {
        Self { size, stream: Stream::default(), subscriptions: 0 }
    }

    pub(super) fn open(&mut self, out: &mut Outgoing) {
        out.frame(Opcode::Binary, &[CONNECT]);
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        // A packet's number is at least 1.
        self.subscriptions = self.subscriptions.checked_add(1).unwrap_or(1);
        let topic = topic.as_str().as_bytes();
        let header = header(0x82, 2 + 2 + topic.len() + 1);
        let packet = self.subscriptions.to_be_bytes();
        out.frame(Opcode::Binary, &[&header, &packet, &length(topic), topic, &[0]]);
    }

    pub(super) fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Outgoing) {
        let topic = topic.as_str().as_bytes();
        let header = header(PUBLISH << 4, 2 + topic.len() + payload.len());
        out.frame(Opcode::Binary, &[&header, &length(topic), topic, payload]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { size, stream, .. } = self;
        stream.read(message, |bytes| {
            let mut rest = bytes;
            loop {
                match take(&mut rest) {
                    Ok(None) => return Ok(bytes.len() - rest.len()),
                    Ok(Some((first, body))) => {
                        if let Some(event) = event(first, body, *size) {
                            on_event(event)?;
                        }
                    }
                    Err(why) => {
                        on_event(Event::Error { id: None, why: why.to_owned() })?;
                        return Ok(bytes.len());
                    }
                }
            }
        })
    }
}

/// What a packet with this first byte means, if anything.
fn event(first: u8, body: &[u8], size: usize) -> Option<Event> {
    let refused = |why: String| Event::Error { id: None, why };
    Some(match (first >> 4, body) {
        (PUBLISH, [high, low, rest @ ..]) => match rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)
        {
            // With any other QoS a number would stand before the payload.
            Some(payload) if first & 0b110 == 0 => bare(payload, size),
            _ => Event::Stray,
        },
        (CONNACK, [_, 0]) => Event::Ready,
        (CONNACK, [_, code]) => refused(format!("refused: CONNACK with return code {code}")),
        (SUBACK, [_, _, FAILURE]) => refused("refused: SUBACK with a failure".to_owned()),
        (SUBACK, [_, _, _]) => Event::Subscribed { recovery: None },
        (PINGRESP, []) => return None,
        _ => Event::Stray,
    })
}

/// Takes a packet off the front of `input`, once it is whole: its first byte and its body.
fn take<'a>(input: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, &'static str> {
    let Some((&first, mut rest)) = input.split_first() else { return Ok(None) };
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let Some((&digit, behind)) = rest.split_first() else { return Ok(None) };
        rest = behind;
        length |= usize::from(digit & 0x7F) << shift;
        if digit & 0x80 == 0 {
            let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
            *input = rest;
            return Ok(Some((first, body)));
        }
    }
    Err("this is not MQTT: a packet's length has more than four digits")
}

/// The first byte of a packet and the length of what follows, seven bits a byte.
fn header(first: u8, mut length: usize) -> Vec<u8> {
    let mut header = vec![first];
    while length > 0x7F {
        header.push(length as u8 | 0x80);
        length >>= 7;
    }
    header.push(length as u8);
    header
}

fn length(topic: &[u8]) -> [u8; 2] {
    (topic.len() as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::{STAMP, TestTalk, payload};
    use crate::target::{Role, Target};

    const CONNACK: &[u8] = b"\x20\x02\x00\x00";
    const SUBACK: &[u8] = b"\x90\x03\x00\x01\x00";

    fn talk() -> TestTalk {
        TestTalk::new(Target::Mqtt, Role::Subscriber)
    }

    fn message(payload: &[u8]) -> Vec<u8> {
        [&header(0x30, 3 + payload.len())[..], b"\x00\x01t", payload].concat()
    }

    #[test]
    fn what_is_said_is_what_the_server_understands() {
        let mut talk = talk();
        assert!(!talk.open());
        talk.subscribe();
        talk.publish(None);
        let said = talk.said_bytes();
        assert_eq!(said[0], CONNECT);
        assert_eq!(said[1], b"\x82\x06\x00\x01\x00\x01t\x00");
        assert_eq!(said[2], message(&payload(64)));
    }

    #[test]
    fn lengths_are_written_seven_bits_a_byte() {
        for (length, digits) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (16_384, &[0x80, 0x80, 1])]
        {
            assert_eq!(header(0x30, length)[1..], *digits, "{length}");
        }
    }

    #[test]
    fn a_stream_means_the_same_wherever_it_is_split() {
        let message = message(&payload(200));
        let stream = [CONNACK, SUBACK, &message, b"\xD0\x00", &message].concat();
        let ready = [Event::Ready, Event::Subscribed { recovery: None }];
        let expected = [&ready[..], &[Event::Delivery(STAMP, None), Event::Delivery(STAMP, None)]].concat();
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            let mut talk = TestTalk::with_size(Target::Mqtt, Role::Subscriber, 200);
            assert_eq!([talk.read(left), talk.read(right)].concat(), expected, "split at {at}");
        }
        let mut talk = TestTalk::with_size(Target::Mqtt, Role::Subscriber, 200);
        let events: Vec<Event> = stream.iter().flat_map(|byte| talk.read(&[*byte])).collect();
        assert_eq!(events, expected, "byte by byte");
    }

    #[test]
    fn refusals_and_what_is_not_mqtt_are_told() {
        let error = |why: &str| [Event::Error { id: None, why: why.into() }];
        assert_eq!(talk().read(b"\x20\x02\x00\x05"), error("refused: CONNACK with return code 5"));
        assert_eq!(talk().read(b"\x90\x03\x00\x01\x80"), error("refused: SUBACK with a failure"));
        let why = "this is not MQTT: a packet's length has more than four digits";
        assert_eq!(talk().read(b"\x30\xFF\xFF\xFF\xFF\x01"), error(why));
        for stray in [&b"\x30\x02\x00\x09"[..], b"\x32\x05\x00\x01t\x00\x01", b"\x30\x01x", b"\x20\x00"] {
            assert_eq!(talk().read(stray), [Event::Stray], "{stray:?}");
        }
    }
}
