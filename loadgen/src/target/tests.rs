//! What all dialects have in common, and what their tests need.

use std::convert::Infallible;

use clap::ValueEnum as _;
use fanfare_protocol::TopicName;
use tungstenite::protocol::frame::FrameHeader;

use super::*;
use crate::wire::outgoing::Outgoing;
use crate::wire::payload::Stamp;

pub(super) const STAMP: Stamp = Stamp { measured: true, publisher: 1, topic: 2, sequence: 3, due_ns: 4 };

pub(super) fn payload(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    STAMP.write(size, &mut out);
    out
}

fn topic() -> TopicName {
    "t".parse().expect("a topic name")
}

/// A connection without a socket, about the topic `t`; the path's last word is `key`, the secret `secret`.
pub(super) struct TestTalk {
    dialect: Dialect,
    out: Outgoing,
}

impl TestTalk {
    pub(super) fn new(target: Target, role: Role) -> Self {
        Self::with_size(target, role, 64)
    }

    pub(super) fn with_size(target: Target, role: Role, size: usize) -> Self {
        let (path, secret) = ("/app/key", Some("secret"));
        let context = Context { role, topic: &topic(), number: 0, size, path, secret };
        Self { dialect: Dialect::new(target, &context), out: Outgoing::new(7) }
    }

    pub(super) fn open(&mut self) -> bool {
        self.dialect.open(&mut self.out)
    }

    pub(super) fn subscribe(&mut self) {
        self.dialect.subscribe(&topic(), None, &mut self.out);
    }

    pub(super) fn publish(&mut self, confirm: Option<u64>) {
        self.dialect.publish(&topic(), &payload(64), confirm, &mut self.out);
    }

    /// What a message from the server means.
    pub(super) fn read(&mut self, message: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let Ok(()) = self.dialect.read(message, &mut self.out, |event| {
            events.push(event);
            Ok::<_, Infallible>(())
        });
        events
    }

    /// The messages said since the last look.
    pub(super) fn said_bytes(&mut self) -> Vec<Vec<u8>> {
        let mut cursor = std::io::Cursor::new(self.out.bytes());
        let mut said = Vec::new();
        while let Some((header, length)) = FrameHeader::parse(&mut cursor).expect("well-formed") {
            let (start, mask) = (cursor.position() as usize, header.mask.expect("a client masks"));
            let body = &self.out.bytes()[start..start + length as usize];
            said.push(body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect());
            cursor.set_position((start + body.len()) as u64);
        }
        self.out.written(self.out.len());
        said
    }

    pub(super) fn said(&mut self) -> Vec<String> {
        self.said_bytes().into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect()
    }
}

#[test]
fn a_payload_alone_is_a_delivery_and_anything_else_a_stray() {
    for target in [Target::FanfareRaw, Target::Floor, Target::Bun, Target::Nchan, Target::Fastapi] {
        let mut talk = TestTalk::new(target, Role::Subscriber);
        assert_eq!(talk.read(&payload(64)), [Event::Delivery(STAMP, None)], "{target:?}");
        for other in [&payload(65)[..], &[payload(64), payload(64)].concat(), b"hello", b""] {
            assert_eq!(talk.read(other), [Event::Stray], "{target:?}");
        }
    }
}

#[test]
fn the_smallest_protocol_is_spoken_as_it_is_read() {
    let mut talk = TestTalk::new(Target::Bun, Role::Subscriber);
    assert!(talk.open());
    talk.subscribe();
    talk.publish(Some(1));
    let data = String::from_utf8(payload(64)).expect("ASCII");
    assert_eq!(talk.said(), ["S:t".to_owned(), format!("P:t:{data}")]);
    assert_eq!(talk.read(b"OK S:t"), [Event::Subscribed { recovery: None }]);
}

#[test]
fn the_name_of_a_target_is_what_the_command_line_takes() {
    for target in Target::value_variants() {
        let value = target.to_possible_value().expect("none is hidden");
        assert_eq!(value.get_name(), target.name());
    }
}

#[test]
fn a_url_without_a_path_gets_the_usual_one() {
    let topic: TopicName = "t".parse().expect("a topic name");
    for (target, base, subscriber, publisher) in [
        (Target::Fanfare, "", "/ws", "/ws"),
        (Target::Fanfare, "/behind/ws", "/behind/ws", "/behind/ws"),
        (Target::FanfareRaw, "", "/ws/t", "/ws/t?echo=false"),
        (Target::Floor, "", "/", "/"),
        (Target::Bun, "", "/", "/"),
        (Target::Centrifugo, "", "/connection/websocket", "/connection/websocket"),
        (Target::Nats, "", "/", "/"),
        (Target::Mqtt, "", "/mqtt", "/mqtt"),
        (Target::Nchan, "", "/sub/t", "/pub/t"),
        (Target::Nchan, "/behind", "/behind/sub/t", "/behind/pub/t"),
        (Target::Fastapi, "", "/ws/t", "/pub/t"),
    ] {
        for (role, path) in [(Role::Subscriber, subscriber), (Role::Publisher, publisher)] {
            assert_eq!(target.path(base, role, &topic).0, path, "{target:?} {role:?}");
        }
    }
    let path = |target: Target, base| target.path(base, Role::Subscriber, &topic).0;
    let expected = "/socket.io/?EIO=4&transport=websocket";
    assert_eq!(path(Target::Socketio, ""), expected);
    assert_eq!(path(Target::Socketio, "/socket.io"), expected);
    let expected = "/app/key?protocol=7&client=js&version=8.3.0&flash=false";
    assert_eq!(path(Target::Pusher, "/app/key"), expected);
}
