//! What a subscription yields.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fanfare_protocol::{Epoch, Message, Offset, Position, TopicName};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::payload::Payload;
use crate::state::CloseReason;

/// What a [`Subscription`](crate::Subscription) yields.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The subscription ended; nothing follows.
    Closed(CloseReason),
    /// Publications were missed; they would stand here.
    Gap(Gap),
    /// A publication.
    Publication(Publication),
    /// The subscription goes on: after a reconnect, or first thing where it was asked to continue from a
    /// position.
    Resubscribed {
        /// Whether every publication in between follows. If not, none of them does: `missed` were, and what follows
        /// was published after `position`. The application should fetch its state anew, or read what is left of them
        /// with [`Client::history`](crate::Client::history) since where the reader was. After a restart of the broker
        /// nothing is known of what was before, and so this is false even where nothing was published.
        recovered: bool,
        /// The topic's newest position at that moment.
        position: Position,
        /// How many publications were missed; unknown (`None`) where the topic began a new epoch.
        missed: Option<u64>,
    },
}

impl Event {
    /// What it takes while it waits for its reader.
    pub(crate) fn bytes(&self) -> usize {
        let beside = match self {
            Self::Publication(publication) => publication.bytes(),
            Self::Closed(_) | Self::Gap(_) | Self::Resubscribed { .. } => 0,
        };
        size_of::<Self>() + beside
    }
}

/// A publication, as delivered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Publication {
    /// The topic that it was published to.
    pub topic: TopicName,
    /// Its place in the topic.
    pub position: Position,
    /// When the broker took it, in Unix milliseconds.
    pub time_ms: u64,
    /// What was published.
    pub payload: Payload,
    /// The message id, as published.
    pub message_id: Option<String>,
    /// The headers, as published; mostly empty.
    pub headers: BTreeMap<String, String>,
    /// The user who published it, as the broker knows.
    pub from: Option<String>,
}

impl Publication {
    /// The `json` payload as a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the payload is not `json`, or does not fit `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.payload.to_value()
    }

    /// The payload as text, unless it is `binary`.
    pub fn text(&self) -> Option<&str> {
        self.payload.as_str()
    }

    /// When the broker took it.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.time_ms)
    }

    /// What it takes, as if nobody else had its payload.
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
        let texts = [&self.message_id, &self.from].into_iter().flatten().map(String::len).sum::<usize>();
        self.payload.as_bytes().len() + headers + texts
    }

    pub(crate) fn new(topic: &TopicName, epoch: Epoch, message: Message<'_>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            topic: topic.clone(),
            position: Position { epoch, offset: message.offset },
            time_ms: message.time,
            payload: Payload::received(message.payload),
            message_id: message.message_id.map(Into::into),
            headers: message.headers.iter().flat_map(|headers| headers.iter()).map(owned).collect(),
            from: message.from.map(|author| author.user.into()),
        }
    }
}

/// Publications that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The epoch of `to`.
    pub epoch: Epoch,
    /// The first offset missed.
    pub from: Offset,
    /// The last offset missed: what follows has a larger one.
    pub to: Offset,
    /// How many were missed; unknown (`None`) where the topic began a new epoch.
    pub missed: Option<u64>,
}

impl Gap {
    /// The position after which the subscription goes on.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.to }
    }

    /// What is missed when `event` is dropped, if anything.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Closed(_) | Event::Resubscribed { recovered: true, .. } => None,
            Event::Gap(gap) => Some(*gap),
            Event::Publication(publication) => {
                let Position { epoch, offset } = publication.position;
                Some(Self { epoch, from: offset, to: offset, missed: Some(1) })
            }
            Event::Resubscribed { recovered: false, position: Position { epoch, offset }, missed } => {
                let before = offset.get().saturating_sub(missed.unwrap_or(offset.get()));
                let from = before.saturating_add(1);
                Some(Self { epoch: *epoch, from: Offset::new(from), to: *offset, missed: *missed })
            }
        }
    }

    /// This gap and the one right after it as one.
    pub(crate) fn followed_by(self, next: Self) -> Self {
        let missed = match (self.missed, next.missed) {
            (Some(a), Some(b)) if self.epoch == next.epoch => Some(a.saturating_add(b)),
            _ => None,
        };
        Self { epoch: next.epoch, from: self.from, to: next.to, missed }
    }
}
