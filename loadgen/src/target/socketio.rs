//! Socket.IO 4 over Engine.IO 4, by WebSocket alone: `sub` TOPIC, which is acknowledged, and `pub` TOPIC
//! PAYLOAD; a publication comes as `m` PAYLOAD.

use fanfare_protocol::TopicName;

use super::event::Event;
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::payload::Stamp;

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct SocketIo {
    size: usize,
    subscriptions: u64,
}

impl SocketIo {
    pub(super) fn new(size: usize) -> Self {
        Self { size, subscriptions: 0 }
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        let event = format!(r#"42{}["sub","{topic}"]"#, self.subscriptions);
        self.subscriptions += 1;
        out.frame(Opcode::Text, &[event.as_bytes()]);
    }

    pub(super) fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Outgoing) {
        let head = format!(r#"42["pub","{topic}","#);
        out.frame(Opcode::Text, &[head.as_bytes(), payload, b"]"]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = |why: &str| {
            let rest = String::from_utf8_lossy(message.get(2..).unwrap_or_default());
            Event::Error { id: None, why: format!("{why}{rest}") }
        };
        match message {
            [b'4', b'2', ..] => on_event(match Stamp::find(message, self.size) {
                Some((stamp, b"]")) => Event::Delivery(stamp, None),
                _ => Event::Stray,
            }),
            [b'4', b'3', ..] => on_event(Event::Subscribed { recovery: None }),
            [b'0', ..] => {
                out.frame(Opcode::Text, &[b"40"]);
                Ok(())
            }
            [b'2', ..] => {
                out.frame(Opcode::Text, &[b"3"]);
                Ok(())
            }
            [b'4', b'0', ..] => on_event(Event::Ready),
            [b'4', b'1', ..] => on_event(error("sent away")),
            [b'4', b'4', ..] => on_event(error("refused: ")),
            [b'6', ..] => Ok(()),
            _ => on_event(Event::Stray),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::{STAMP, TestTalk, payload};
    use crate::target::{Role, Target};

    #[test]
    fn a_connection_is_ready_when_both_layers_are() {
        let mut talk = TestTalk::new(Target::Socketio, Role::Subscriber);
        assert!(!talk.open());
        assert_eq!(talk.read(br#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#), []);
        assert_eq!(talk.said(), ["40"]);
        assert_eq!(talk.read(br#"40{"sid":"y"}"#), [Event::Ready]);
    }

    #[test]
    fn subscriptions_are_acknowledged_and_publications_come_as_m() {
        let mut talk = TestTalk::new(Target::Socketio, Role::Subscriber);
        talk.subscribe();
        talk.subscribe();
        assert_eq!(talk.said(), [r#"420["sub","t"]"#, r#"421["sub","t"]"#]);
        assert_eq!(talk.read(br#"430["ok"]"#), [Event::Subscribed { recovery: None }]);
        talk.publish(None);
        let data = String::from_utf8(payload(64)).expect("ASCII");
        assert_eq!(talk.said(), [format!(r#"42["pub","t",{data}]"#)]);
        assert_eq!(talk.read(format!(r#"42["m",{data}]"#).as_bytes()), [Event::Delivery(STAMP, None)]);
        assert_eq!(talk.read(br#"42["m","other"]"#), [Event::Stray]);
    }

    #[test]
    fn pings_are_answered_and_refusals_told() {
        let mut talk = TestTalk::new(Target::Socketio, Role::Subscriber);
        assert_eq!(talk.read(b"2"), []);
        assert_eq!(talk.said(), ["3"]);
        let refused = Event::Error { id: None, why: r#"refused: {"message":"no"}"#.into() };
        assert_eq!(talk.read(br#"44{"message":"no"}"#), [refused]);
        assert_eq!(talk.read(b"41"), [Event::Error { id: None, why: "sent away".into() }]);
    }
}
