//! The smallest protocol there can be, for servers of a few lines: Bun's own pub/sub and
//! the built-in `floor`.
//!
//! `S:TOPIC` subscribes and is answered by `OK S:TOPIC`; `P:TOPIC:PAYLOAD` publishes, without an answer;
//! a publication comes as its payload alone. No topic holds a colon.

use fanfare_protocol::TopicName;

use super::event::{Event, bare};
use crate::wire::outgoing::{Opcode, Outgoing};

/// The talk on one connection.
#[derive(Debug)]
pub(crate) struct Small {
    size: usize,
}

impl Small {
    pub(super) fn new(size: usize) -> Self {
        Self { size }
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, out: &mut Outgoing) {
        out.frame(Opcode::Text, &[b"S:", topic.as_str().as_bytes()]);
    }

    pub(super) fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Outgoing) {
        out.frame(Opcode::Text, &[b"P:", topic.as_str().as_bytes(), b":", payload]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        on_event(match message {
            [b'O', b'K', ..] => Event::Subscribed { recovery: None },
            payload => bare(payload, self.size),
        })
    }
}
