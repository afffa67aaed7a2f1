//! The JSON protocol of Centrifugo: commands with numbers, one reply each, several objects in a message.

use fanfare_protocol::TopicName;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::event::Event;
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::payload::Stamp;

/// The talk on one connection. Publications have the numbers 2, 4, 6 ..., all else has odd ones.
#[derive(Debug)]
pub(crate) struct Centrifugo {
    size: usize,
    published: u64,
    others: u64,
}

#[derive(Debug, Deserialize)]
struct Reply {
    #[serde(default)]
    id: u64,
    connect: Option<IgnoredAny>,
    error: Option<Failure>,
    publish: Option<IgnoredAny>,
    push: Option<Push>,
    subscribe: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    code: u32,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Push {
    disconnect: Option<Farewell>,
    unsubscribe: Option<Farewell>,
}

#[derive(Debug, Deserialize)]
struct Farewell {
    code: u32,
    reason: String,
}

impl Centrifugo {
    pub(super) fn new(size: usize) -> Self {
        Self { size, published: 0, others: 0 }
    }

    pub(super) fn open(&mut self, out: &mut Outgoing) {
        let id = self.next_other();
        out.frame(Opcode::Text, &[format!("{{\"id\":{id},\"connect\":{{}}}}").as_bytes()]);
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        let id = self.next_other();
        let command = format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{topic}\"}}}}");
        out.frame(Opcode::Text, &[command.as_bytes()]);
    }

    /// Every publication is confirmed, asked for or not.
    pub(super) fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Outgoing) {
        self.published += 1;
        let id = 2 * self.published;
        let command = format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{topic}\",\"data\":");
        out.frame(Opcode::Text, &[command.as_bytes(), payload, b"}}"]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = message;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            match (line, Stamp::find(line, self.size)) {
                (_, Some((stamp, _))) => on_event(Event::Delivery(stamp, None))?,
                (b"{}", None) => out.frame(Opcode::Text, &[b"{}"]),
                (line, None) => on_event(event(line))?,
            }
        }
        Ok(())
    }

    fn next_other(&mut self) -> u64 {
        self.others += 1;
        2 * self.others - 1
    }
}

/// What a line means that delivers nothing of ours.
fn event(line: &[u8]) -> Event {
    let why = |why: String| Event::Error { id: None, why };
    let reply: Reply = match serde_json::from_slice(line) {
        Ok(reply) => reply,
        Err(e) => return why(format!("this is not Centrifugo: {e}")),
    };
    match reply {
        Reply { error: Some(Failure { code, message }), id, .. } => {
            let id = (id > 0 && id % 2 == 0).then_some(id / 2);
            Event::Error { id, why: format!("refused: {code}: {message}") }
        }
        Reply { publish: Some(_), id, .. } => Event::Published(id / 2),
        Reply { subscribe: Some(_), .. } => Event::Subscribed { recovery: None },
        Reply { connect: Some(_), .. } => Event::Ready,
        Reply { push: Some(Push { unsubscribe: Some(Farewell { code, reason }), .. }), .. } => {
            why(format!("subscription ended: {code}: {reason}"))
        }
        Reply { push: Some(Push { disconnect: Some(Farewell { code, reason }), .. }), .. } => {
            why(format!("sent away: {code}: {reason}"))
        }
        _ => Event::Stray,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::{STAMP, TestTalk, payload};
    use crate::target::{Role, Target};

    fn talk() -> TestTalk {
        TestTalk::new(Target::Centrifugo, Role::Subscriber)
    }

    #[test]
    fn what_is_said_is_what_the_server_understands() {
        let mut talk = talk();
        assert!(!talk.open());
        talk.subscribe();
        talk.publish(None);
        talk.publish(Some(2));
        let data = String::from_utf8(payload(64)).expect("ASCII");
        let expected = [
            r#"{"id":1,"connect":{}}"#.to_owned(),
            r#"{"id":3,"subscribe":{"channel":"t"}}"#.to_owned(),
            format!(r#"{{"id":2,"publish":{{"channel":"t","data":{data}}}}}"#),
            format!(r#"{{"id":4,"publish":{{"channel":"t","data":{data}}}}}"#),
        ];
        assert_eq!(talk.said(), expected);
    }

    #[test]
    fn every_object_of_a_message_is_read_in_order() {
        let data = String::from_utf8(payload(64)).expect("ASCII");
        let info = r#""info":{"user":"","client":"0c"}"#;
        let push = format!(r#"{{"push":{{"channel":"t","pub":{{"data":{data},{info}}}}}}}"#);
        let ready = r#"{"id":1,"connect":{"client":"0c","version":"6.9.1 OSS","ping":25,"pong":true}}"#;
        let message = [ready, r#"{"id":3,"subscribe":{}}"#, &push, &push, r#"{"id":2,"publish":{}}"#, "{}"];
        let expected = [
            Event::Ready,
            Event::Subscribed { recovery: None },
            Event::Delivery(STAMP, None),
            Event::Delivery(STAMP, None),
            Event::Published(1),
        ];
        for end in ["", "\n"] {
            let mut talk = talk();
            assert_eq!(talk.read((message.join("\n") + end).as_bytes()), expected);
            assert_eq!(talk.said(), ["{}"], "the ping is answered");
        }
    }

    #[test]
    fn refusals_are_told_with_the_publication_that_they_are_about() {
        let error = |id, why: &str| [Event::Error { id, why: why.into() }];
        let denied = |id| format!(r#"{{"id":{id},"error":{{"code":103,"message":"permission denied"}}}}"#);
        assert_eq!(talk().read(denied(6).as_bytes()), error(Some(3), "refused: 103: permission denied"));
        assert_eq!(talk().read(denied(3).as_bytes()), error(None, "refused: 103: permission denied"));
        let gone = br#"{"push":{"channel":"t","unsubscribe":{"code":2500,"reason":"server"}}}"#;
        assert_eq!(talk().read(gone), error(None, "subscription ended: 2500: server"));
        let away = br#"{"push":{"disconnect":{"code":3008,"reason":"slow"}}}"#;
        assert_eq!(talk().read(away), error(None, "sent away: 3008: slow"));
        assert_eq!(talk().read(br#"{"push":{"channel":"t","pub":{"data":"other"}}}"#), [Event::Stray]);
        assert!(matches!(talk().read(b"hello")[..], [Event::Error { .. }]));
    }
}
