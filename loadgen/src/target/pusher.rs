//! The Pusher protocol, version 7: sockudo, soketi, Reverb and others.
//!
//! Clients publish to channels that they are subscribed to, and those are private: each subscription is
//! signed with the secret of the app and the number of the socket. Publishers get nothing back of
//! their own.

use fanfare_protocol::TopicName;
use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Context, Event, Role};
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::payload::Stamp;

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct Pusher {
    size: usize,
    key: String,
    secret: hmac::Key,
    /// What the server calls this connection, once it has said so.
    socket_id: String,
    /// Where a publisher publishes: it is ready when it is subscribed there.
    publishes_to: Option<TopicName>,
}

#[derive(Debug, Deserialize)]
struct Said<'a> {
    event: &'a str,
    /// JSON, sometimes in a string.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Established {
    socket_id: String,
}

impl Pusher {
    pub(super) fn new(context: &Context<'_>) -> Self {
        let key = context.path.rsplit('/').next().unwrap_or_default().to_owned();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, context.secret.unwrap_or_default().as_bytes());
        let publishes_to = (context.role == Role::Publisher).then(|| context.topic.clone());
        Self { size: context.size, key, secret, socket_id: String::new(), publishes_to }
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        let signed = format!("{}:{topic}", self.socket_id);
        let signature = hmac::sign(&self.secret, signed.as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let auth = format!("{}:{hex}", self.key);
        let data = format!(r#"{{"channel":"{topic}","auth":"{auth}"}}"#);
        out.frame(Opcode::Text, &[br#"{"event":"pusher:subscribe","data":"#, data.as_bytes(), b"}"]);
    }

    pub(super) fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Outgoing) {
        let head = format!(r#"{{"event":"client-m","channel":"{topic}","data":"#);
        out.frame(Opcode::Text, &[head.as_bytes(), payload, b"}"]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some((stamp, _)) = Stamp::find(message, self.size) {
            return match self.publishes_to {
                None => on_event(Event::Delivery(stamp, None)),
                // Of another publisher: it could not but subscribe.
                Some(_) => Ok(()),
            };
        }
        let said: Said<'_> = match serde_json::from_slice(message) {
            Ok(said) => said,
            Err(e) => return on_event(Event::Error { id: None, why: format!("this is no Pusher: {e}") }),
        };
        match said.event {
            "pusher:connection_established" => {
                match text(said.data).and_then(|data| serde_json::from_str::<Established>(&data).ok()) {
                    Some(Established { socket_id }) => self.socket_id = socket_id,
                    None => {
                        let why = "this is no Pusher: it gave no socket_id".to_owned();
                        return on_event(Event::Error { id: None, why });
                    }
                }
                match self.publishes_to.clone() {
                    Some(topic) => self.subscribe(&topic, out),
                    None => on_event(Event::Ready)?,
                }
            }
            "pusher_internal:subscription_succeeded" => on_event(match self.publishes_to {
                Some(_) => Event::Ready,
                None => Event::Subscribed { recovery: None },
            })?,
            "pusher:ping" => out.frame(Opcode::Text, &[br#"{"event":"pusher:pong","data":{}}"#]),
            "pusher:pong" => {}
            event if event.ends_with("error") => {
                let data = text(said.data).unwrap_or_default();
                on_event(Event::Error { id: None, why: format!("refused: {event}: {data}") })?;
            }
            _ => on_event(Event::Stray)?,
        }
        Ok(())
    }
}

/// Data as JSON, taken out of the string that it may be in.
fn text(data: Option<&RawValue>) -> Option<String> {
    let data = data?.get();
    serde_json::from_str(data).or_else(|_| Ok::<_, serde_json::Error>(data.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use crate::target::tests::{STAMP, TestTalk, payload};

    const ESTABLISHED: &[u8] = br#"{"event":"pusher:connection_established","data":"{\"activity_timeout\":120,\"socket_id\":\"967.886\"}"}"#;
    const SUCCEEDED: &[u8] =
        br#"{"event":"pusher_internal:subscription_succeeded","channel":"t","data":"{}"}"#;
    /// Of `967.886:t` with the secret `secret`, by another implementation.
    const SIGNATURE: &str = "e83c6c4d7884ae0b221046a5e6ead2a6d529720ee86b4f6dca999cf31ed332ca";

    fn subscribe() -> String {
        let auth = format!("key:{SIGNATURE}");
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"t","auth":"{auth}"}}}}"#)
    }

    fn message() -> String {
        let data = String::from_utf8(payload(64)).expect("ASCII");
        format!(r#"{{"event":"client-m","channel":"t","data":{data}}}"#)
    }

    #[test]
    fn a_subscriber_signs_with_the_number_of_its_socket() {
        let mut talk = TestTalk::new(Target::Pusher, Role::Subscriber);
        assert!(!talk.open());
        assert_eq!(talk.read(ESTABLISHED), [Event::Ready]);
        talk.subscribe();
        assert_eq!(talk.said(), [subscribe()]);
        assert_eq!(talk.read(SUCCEEDED), [Event::Subscribed { recovery: None }]);
        assert_eq!(talk.read(message().as_bytes()), [Event::Delivery(STAMP, None)]);
    }

    #[test]
    fn a_publisher_is_ready_when_it_is_subscribed_and_gets_no_deliveries() {
        let mut talk = TestTalk::new(Target::Pusher, Role::Publisher);
        assert!(!talk.open());
        assert_eq!(talk.read(ESTABLISHED), []);
        assert_eq!(talk.said(), [subscribe()]);
        assert_eq!(talk.read(SUCCEEDED), [Event::Ready]);
        talk.publish(None);
        assert_eq!(talk.said(), [message()]);
        assert_eq!(talk.read(message().as_bytes()), [], "of another publisher");
    }

    #[test]
    fn pings_are_answered_and_errors_told() {
        let mut talk = TestTalk::new(Target::Pusher, Role::Subscriber);
        assert_eq!(talk.read(br#"{"event":"pusher:ping","data":{}}"#), []);
        assert_eq!(talk.said(), [r#"{"event":"pusher:pong","data":{}}"#]);
        let error = |why: &str| [Event::Error { id: None, why: why.into() }];
        let unknown = br#"{"event":"pusher:error","data":{"code":4001,"message":"no app"}}"#;
        assert_eq!(talk.read(unknown), error(r#"refused: pusher:error: {"code":4001,"message":"no app"}"#));
        let denied = br#"{"event":"pusher:subscription_error","channel":"t","data":"{\"status\":401}"}"#;
        assert_eq!(talk.read(denied), error(r#"refused: pusher:subscription_error: {"status":401}"#));
        assert_eq!(talk.read(br#"{"event":"other"}"#), [Event::Stray]);
        let nameless = br#"{"event":"pusher:connection_established","data":{}}"#;
        assert_eq!(talk.read(nameless), error("this is no Pusher: it gave no socket_id"));
    }
}
