//! What is said to a broker and how its messages are read: everything else is the same for all of them.
//!
//! A [`Target`] is a kind of broker; a [`Dialect`] is the talk on one connection to it, and knows what
//! was said there before. Bytes in, [`Event`]s and answers out: no dialect touches a socket.

mod native;
mod plain;
mod small;

use anyhow::ensure;
use clap::ValueEnum;
use fanfare_protocol::{Codec, Position, TopicName};

use crate::outgoing::Outgoing;
use crate::payload::Stamp;

/// A kind of broker, and the dialect spoken with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Fanfare's protocol in JSON, at /ws.
    Fanfare,
    /// Fanfare's protocol in MessagePack, at /ws.
    FanfareMsgpack,
    /// Fanfare's raw endpoint, topics in the path, at /ws.
    FanfareRaw,
    /// The limit: a server that only sends; it is started for the run.
    Floor,
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
    /// The connection is ready for subscriptions and publications.
    Ready,
    /// Something that should not be here.
    Stray,
    /// A subscription stands.
    Subscribed {
        /// Whether all since the position asked for follows, where one was.
        recovered: Option<bool>,
    },
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
}

impl Target {
    /// How it is called on the command line and in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanfare => "fanfare",
            Self::FanfareMsgpack => "fanfare-msgpack",
            Self::FanfareRaw => "fanfare-raw",
            Self::Floor => "floor",
        }
    }

    /// The path of a URL that has none.
    fn usual_path(self) -> &'static str {
        match self {
            Self::Fanfare | Self::FanfareMsgpack | Self::FanfareRaw => "/ws",
            Self::Floor => "",
        }
    }

    /// Path and query to connect to, from the path of the URL, and the subprotocol to ask for.
    pub(crate) fn path(self, base: &str, role: Role, topic: &TopicName) -> (String, Option<&'static str>) {
        let base = if base.is_empty() { self.usual_path() } else { base };
        let path = match (self, role) {
            (Self::FanfareRaw, Role::Publisher) => format!("{base}/{topic}?echo=false"),
            (Self::FanfareRaw, Role::Subscriber) => format!("{base}/{topic}"),
            _ if base.is_empty() => "/".to_owned(),
            _ => base.to_owned(),
        };
        let subprotocol = match self {
            Self::Fanfare => Some(Codec::Json.subprotocol()),
            Self::FanfareMsgpack => Some(Codec::MessagePack.subprotocol()),
            _ => None,
        };
        (path, subprotocol)
    }

    /// A topic of run `run` in the letters that the broker allows.
    pub(crate) fn topic(self, run: u64, n: u32) -> TopicName {
        let name = match self {
            Self::Fanfare | Self::FanfareMsgpack | Self::FanfareRaw => format!("loadgen:{run:x}:{n}"),
            // A colon means something to some brokers.
            Self::Floor => format!("loadgen-{run:x}-{n}"),
        };
        name.parse().expect("letters, digits, colons and hyphens")
    }

    /// Whether each topic needs a connection of its own, to publish at least.
    pub(crate) fn one_topic_per_connection(self) -> bool {
        self == Self::FanfareRaw
    }

    /// Checks that a connection may subscribe to several topics.
    ///
    /// # Errors
    /// Names the target and the scenario that would need it.
    pub(crate) fn ensure_many_topics(self, scenario: &str) -> anyhow::Result<()> {
        ensure!(
            self != Self::FanfareRaw,
            "{scenario} subscribes to several topics on a connection, and {} has one alone: choose another \
             --target",
            self.name()
        );
        Ok(())
    }

    /// Checks that a subscription can go on from a [`Position`].
    ///
    /// # Errors
    /// Names the target and the scenario that would need it.
    #[expect(dead_code, reason = "for scenarios to come")]
    pub(crate) fn ensure_positions(self, scenario: &str) -> anyhow::Result<()> {
        ensure!(
            matches!(self, Self::Fanfare | Self::FanfareMsgpack),
            "{scenario} continues from a position, and {} has none: choose --target fanfare or \
             fanfare-msgpack",
            self.name()
        );
        Ok(())
    }

    /// Whether a subscription is confirmed by an [`Event::Subscribed`].
    pub(crate) fn confirms_subscriptions(self) -> bool {
        self != Self::FanfareRaw
    }

    /// Whether publications are confirmed by an [`Event::Published`], where asked for.
    pub(crate) fn confirms_publications(self) -> bool {
        matches!(self, Self::Fanfare | Self::FanfareMsgpack)
    }
}

/// The talk on one connection.
#[derive(Debug)]
pub(crate) enum Dialect {
    Native(native::Native),
    Plain(plain::Plain),
    Small(small::Small),
}

impl Dialect {
    /// The talk on a new connection; all payloads have `size` bytes.
    pub(crate) fn new(target: Target, size: usize) -> Self {
        match target {
            Target::Fanfare => Self::Native(native::Native::new(Codec::Json, size)),
            Target::FanfareMsgpack => Self::Native(native::Native::new(Codec::MessagePack, size)),
            Target::FanfareRaw => Self::Plain(plain::Plain::new(size)),
            Target::Floor => Self::Small(small::Small::new(size)),
        }
    }

    /// Appends what is said first. Returns whether the connection is ready at once; if not, an
    /// [`Event::Ready`] will tell.
    pub(crate) fn open(&mut self, _out: &mut Outgoing) -> bool {
        match self {
            Self::Native(_) | Self::Plain(_) | Self::Small(_) => true,
        }
    }

    /// Appends the wish to subscribe, where [`ensure_positions`](Target::ensure_positions) allows it
    /// after a position. Nothing where connecting was all.
    pub(crate) fn subscribe(&mut self, topic: &TopicName, since: Option<Position>, out: &mut Outgoing) {
        match self {
            Self::Native(native) => native.subscribe(topic, since, out),
            Self::Plain(_) => {}
            Self::Small(small) => small.subscribe(topic, out),
        }
    }

    /// Appends a publication of a JSON text; with `confirm` asks for an [`Event::Published`] with that
    /// number, at least 1: how many were published on this connection, with this one.
    pub(crate) fn publish(
        &mut self,
        topic: &TopicName,
        payload: &[u8],
        confirm: Option<u64>,
        out: &mut Outgoing,
    ) {
        match self {
            Self::Native(native) => native.publish(topic, payload, confirm, out),
            Self::Plain(plain) => plain.publish(payload, out),
            Self::Small(small) => small.publish(topic, payload, out),
        }
    }

    /// Reads one WebSocket message: `on_event` sees what it means, in order, until it fails; what must be
    /// answered is appended to `out`.
    ///
    /// A single publication, which is nearly all there is, is not parsed: its stamp is found by its
    /// marker.
    pub(crate) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let _ = out;
        match self {
            Self::Native(native) => native.read(message, on_event),
            Self::Plain(plain) => plain.read(message, on_event),
            Self::Small(small) => small.read(message, on_event),
        }
    }

    /// From now on keeps the last position of each subscription, which costs parsing all messages.
    #[expect(dead_code, reason = "for scenarios to come")]
    pub(crate) fn follow_positions(&mut self) {
        if let Self::Native(native) = self {
            native.follow_positions();
        }
    }

    /// Where the subscription to `topic` stands, since [`follow_positions`](Self::follow_positions).
    #[expect(dead_code, reason = "for scenarios to come")]
    pub(crate) fn position(&self, topic: &TopicName) -> Option<Position> {
        match self {
            Self::Native(native) => native.position(topic),
            _ => None,
        }
    }
}

/// A payload with nothing around it.
fn bare(message: &[u8], size: usize) -> Event {
    match Stamp::find(message, size) {
        Some((stamp, [])) => Event::Delivery(stamp),
        _ => Event::Stray,
    }
}

#[cfg(test)]
mod tests;
