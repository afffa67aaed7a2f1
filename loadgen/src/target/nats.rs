//! The protocol of NATS: lines and payloads in a byte stream.
//!
//! A `PING` is answered by a `PONG` once all before it has been dealt with: that confirms what the
//! protocol itself does not.

use std::collections::VecDeque;

use fanfare_protocol::TopicName;

use super::event::{Event, bare};
use super::stream::Stream;
use crate::wire::outgoing::{Opcode, Outgoing};

/// Longest line taken, in bytes: the `INFO` of a large cluster is much shorter.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Largest payload taken, in bytes: what a server may be configured to allow.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadgen\",\"version\":\"1\",\
    \"protocol\":1,\"echo\":true}\r\n";
const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"PONG\r\n";

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct Nats {
    size: usize,
    stream: Stream,
    /// What each `PONG` under way will mean; one for each confirmation that was asked for.
    pongs: VecDeque<Event>,
    subscriptions: u64,
}

impl Nats {
    pub(super) fn new(size: usize) -> Self {
        Self { size, stream: Stream::default(), pongs: VecDeque::new(), subscriptions: 0 }
    }

    pub(super) fn open(&mut self, out: &mut Outgoing) {
        self.pongs.push_back(Event::Ready);
        out.frame(Opcode::Binary, &[CONNECT, PING]);
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        self.subscriptions += 1;
        self.pongs.push_back(Event::Subscribed { recovery: None });
        let line = format!("SUB {topic} {}\r\n", self.subscriptions);
        out.frame(Opcode::Binary, &[line.as_bytes(), PING]);
    }

    pub(super) fn publish(
        &mut self,
        topic: &TopicName,
        payload: &[u8],
        confirm: Option<u64>,
        out: &mut Outgoing,
    ) {
        let line = format!("PUB {topic} {}\r\n", payload.len());
        let ping = match confirm {
            Some(n) => {
                self.pongs.push_back(Event::Published(n));
                PING
            }
            None => b"",
        };
        out.frame(Opcode::Binary, &[line.as_bytes(), payload, b"\r\n", ping]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { size, stream, pongs, .. } = self;
        stream.read(message, |bytes| {
            let mut rest = bytes;
            loop {
                match take(&mut rest) {
                    Ok(None) => return Ok(bytes.len() - rest.len()),
                    Ok(Some(Said::Message(payload))) => on_event(bare(payload, *size))?,
                    Ok(Some(Said::Nothing)) => {}
                    Ok(Some(Said::Ping)) => out.frame(Opcode::Binary, &[PONG]),
                    Ok(Some(Said::Pong)) => on_event(pongs.pop_front().unwrap_or(Event::Stray))?,
                    Ok(Some(Said::Error(why))) => on_event(Event::Error { id: None, why })?,
                    Err(why) => {
                        on_event(Event::Error { id: None, why: format!("this is not NATS: {why}") })?;
                        return Ok(bytes.len());
                    }
                }
            }
        })
    }
}

/// One thing that a server says.
enum Said<'a> {
    Error(String),
    Message(&'a [u8]),
    /// Nothing that matters here.
    Nothing,
    Ping,
    Pong,
}

/// Takes it off the front of `input`, once it is whole.
fn take<'a>(input: &mut &'a [u8]) -> Result<Option<Said<'a>>, String> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return match input.len() {
            0..=LINE_BYTES_MAX => Ok(None),
            _ => Err("a line without end".to_owned()),
        };
    };
    let (line, rest) = (input[..end].trim_ascii_end(), &input[end + 1..]);
    let unknown = || format!("{:?}", String::from_utf8_lossy(line));
    let (said, rest) = match line {
        [b'M', b'S', b'G', b' ', head @ ..] => {
            let length = head.rsplit(|byte| *byte == b' ').next().and_then(number).ok_or_else(unknown)?;
            let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
            let Some((b"\r\n", rest)) = rest.split_at_checked(2) else {
                return if rest.len() < 2 { Ok(None) } else { Err("a payload of another length".to_owned()) };
            };
            (Said::Message(payload), rest)
        }
        b"PING" => (Said::Ping, rest),
        b"PONG" => (Said::Pong, rest),
        [b'I', b'N', b'F', b'O', b' ', ..] | b"+OK" => (Said::Nothing, rest),
        [b'-', b'E', b'R', b'R', b' ', why @ ..] => {
            (Said::Error(format!("refused: {}", String::from_utf8_lossy(why))), rest)
        }
        _ => return Err(unknown()),
    };
    *input = rest;
    Ok(Some(said))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::{STAMP, TestTalk, payload};
    use crate::target::{Role, Target};

    /// A connection on which everything has been asked for once.
    fn talk() -> TestTalk {
        let mut talk = TestTalk::new(Target::Nats, Role::Subscriber);
        assert!(!talk.open());
        talk.subscribe();
        talk.publish(Some(1));
        talk
    }

    #[test]
    fn what_is_said_is_what_the_server_understands() {
        let mut talk = TestTalk::new(Target::Nats, Role::Publisher);
        talk.open();
        let connect = String::from_utf8([CONNECT, PING].concat()).expect("ASCII");
        assert_eq!(talk.said(), [connect]);
        talk.subscribe();
        assert_eq!(talk.said(), ["SUB t 1\r\nPING\r\n"]);
        talk.publish(None);
        talk.publish(Some(2));
        let publish = format!("PUB t 64\r\n{}\r\n", String::from_utf8(payload(64)).expect("ASCII"));
        assert_eq!(talk.said(), [publish.clone(), format!("{publish}PING\r\n")]);
    }

    #[test]
    fn a_stream_means_the_same_wherever_it_is_split() {
        let message = [b"MSG t 1 64\r\n", &payload(64)[..], b"\r\n"].concat();
        let info: &[u8] = b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n";
        let stream =
            [info, b"PONG\r\n", info, b"PONG\r\n", &message, b"PING\r\n", &message, b"PONG\r\n"].concat();
        let expected = [
            Event::Ready,
            Event::Subscribed { recovery: None },
            Event::Delivery(STAMP, None),
            Event::Delivery(STAMP, None),
            Event::Published(1),
        ];
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            let mut talk = talk();
            talk.said();
            assert_eq!([talk.read(left), talk.read(right)].concat(), expected, "split at {at}");
            assert_eq!(talk.said(), ["PONG\r\n"], "split at {at}");
        }
        let mut talk = talk();
        let events: Vec<Event> = stream.iter().flat_map(|byte| talk.read(&[*byte])).collect();
        assert_eq!(events, expected, "byte by byte");
    }

    #[test]
    fn an_error_is_told_and_what_is_not_nats_too() {
        let error = |why: &str| [Event::Error { id: None, why: why.into() }];
        let events = talk().read(b"-ERR 'Maximum Payload Violation'\r\n");
        assert_eq!(events, error("refused: 'Maximum Payload Violation'"));
        assert_eq!(talk().read(b"HELLO\r\n"), error("this is not NATS: \"HELLO\""));
        assert_eq!(
            talk().read(b"MSG t 1 99999999999\r\n"),
            error("this is not NATS: \"MSG t 1 99999999999\"")
        );
        assert_eq!(talk().read(b"MSG t 1 2\r\nabcd"), error("this is not NATS: a payload of another length"));
        let endless = talk().read(&[b'x'; LINE_BYTES_MAX + 1]);
        assert_eq!(endless, error("this is not NATS: a line without end"));
        assert_eq!(
            TestTalk::new(Target::Nats, Role::Subscriber).read(b"PONG\r\n"),
            [Event::Stray],
            "nobody asked"
        );
    }
}
