//! What is said to a broker and how its messages are read: everything else is the same for all of them.
//!
//! A [`Target`] is a kind of broker; a [`Dialect`] is the talk on one connection to it, and knows what
//! was said there before. Bytes in, [`Event`]s and answers out: no dialect touches a socket.

mod centrifugo;
mod mqtt;
mod native;
mod nats;
mod plain;
mod pusher;
mod small;
mod socketio;
mod stream;

use anyhow::ensure;
use clap::ValueEnum;
use fanfare_protocol::{Codec, Position, TopicName};

use crate::wire::outgoing::Outgoing;
use crate::wire::payload::Stamp;

/// A kind of broker, and the dialect spoken with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A server of a few lines, such as Bun's own pub/sub: S:TOPIC and P:TOPIC:PAYLOAD, at any path.
    Bun,
    /// Centrifugo's protocol in JSON, at /connection/websocket.
    Centrifugo,
    /// Fanfare's protocol in JSON, at /ws.
    Fanfare,
    /// Fanfare's protocol in MessagePack, at /ws.
    FanfareMsgpack,
    /// Fanfare's raw endpoint, at /ws/TOPIC.
    FanfareRaw,
    /// FastAPI with a ConnectionManager, at /ws/TOPIC and /pub/TOPIC.
    Fastapi,
    /// The limit: a server that does nothing but send; it is started for the run.
    Floor,
    /// MQTT 3.1.1 with QoS 0, at /mqtt.
    Mqtt,
    /// NATS, at /.
    Nats,
    /// nginx with nchan, at /sub/TOPIC and /pub/TOPIC.
    Nchan,
    /// The Pusher protocol, version 7, at /app/KEY, which the URL must name; needs the --secret too.
    Pusher,
    /// Socket.IO 4 with rooms, at /socket.io.
    Socketio,
}

/// What must be known of a connection before the first word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) role: Role,
    /// Its first topic, or only one.
    pub(crate) topic: &'a TopicName,
    /// Which connection it is.
    pub(crate) number: u64,
    /// Of every payload, in bytes.
    pub(crate) size: usize,
    /// The path of the URL.
    pub(crate) path: &'a str,
    /// With what subscriptions are signed, where they are.
    pub(crate) secret: Option<&'a str>,
}

/// What a message from the broker means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A publication of this run, or of another one that left its payload here; some say from where.
    Delivery(Stamp, Option<Place>),
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
        /// What follows of what came after the position asked for, where one was.
        recovery: Option<Recovery>,
    },
}

/// Where a publication is from, by the message that it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the connection's subscriptions, in the order in which they were asked for.
    pub(crate) subscription: usize,
    /// How many publications of the topic there were with it.
    pub(crate) offset: u64,
}

/// How a subscription goes on that was asked for after a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// All that came after it follows: so many publications before the live ones.
    Replay(u64),
    /// Some is missing and only live ones follow: whoever cares must load the state anew.
    Reload,
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
            Self::Bun => "bun",
            Self::Centrifugo => "centrifugo",
            Self::Fanfare => "fanfare",
            Self::FanfareMsgpack => "fanfare-msgpack",
            Self::FanfareRaw => "fanfare-raw",
            Self::Fastapi => "fastapi",
            Self::Floor => "floor",
            Self::Mqtt => "mqtt",
            Self::Nats => "nats",
            Self::Nchan => "nchan",
            Self::Pusher => "pusher",
            Self::Socketio => "socketio",
        }
    }

    /// Whether it is Fanfare, however spoken to.
    pub(crate) fn is_fanfare(self) -> bool {
        matches!(self, Self::Fanfare | Self::FanfareMsgpack | Self::FanfareRaw)
    }

    /// Path and query to connect to, from the path of the URL, and the subprotocol to ask for.
    pub(crate) fn path(self, base: &str, role: Role, topic: &TopicName) -> (String, Option<&'static str>) {
        let or = |usual| if base.is_empty() { usual } else { base };
        let (fanfare, subscriber) = (or("/ws"), role == Role::Subscriber);
        match self {
            Self::Bun | Self::Floor | Self::Nats => (or("/").to_owned(), None),
            Self::Centrifugo => (or("/connection/websocket").to_owned(), None),
            Self::Fanfare => (fanfare.to_owned(), Some(Codec::Json.subprotocol())),
            Self::FanfareMsgpack => (fanfare.to_owned(), Some(Codec::MessagePack.subprotocol())),
            Self::FanfareRaw if subscriber => (format!("{fanfare}/{topic}"), None),
            Self::FanfareRaw => (format!("{fanfare}/{topic}?echo=false"), None),
            Self::Fastapi if subscriber => (format!("{base}/ws/{topic}"), None),
            Self::Mqtt => (or("/mqtt").to_owned(), Some("mqtt")),
            Self::Nchan if subscriber => (format!("{base}/sub/{topic}"), None),
            Self::Fastapi | Self::Nchan => (format!("{base}/pub/{topic}"), None),
            Self::Pusher => (format!("{base}?protocol=7&client=js&version=8.3.0&flash=false"), None),
            Self::Socketio => (format!("{}/?EIO=4&transport=websocket", or("/socket.io")), None),
        }
    }

    /// Topic `n` of run `run`, in letters that the broker takes for nothing else.
    pub(crate) fn topic(self, run: u64, n: u32) -> TopicName {
        let name = match self {
            // A namespace of its own.
            _ if self.is_fanfare() => format!("loadgen:{run:x}:{n}"),
            Self::Pusher => format!("private-loadgen-{run:x}-{n}"),
            _ => format!("loadgen-{run:x}-{n}"),
        };
        name.parse().expect("letters, digits, colons and hyphens")
    }

    /// Whether a publisher needs a connection for each of its topics.
    pub(crate) fn one_topic_per_connection(self) -> bool {
        self.topic_in_path() || self == Self::Pusher
    }

    /// Checks that a connection may subscribe to several topics.
    ///
    /// # Errors
    /// Names the target and the scenario that would need it.
    pub(crate) fn ensure_many_topics(self, scenario: &str) -> anyhow::Result<()> {
        ensure!(
            !self.topic_in_path(),
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
    pub(crate) fn ensure_positions(self, scenario: &str) -> anyhow::Result<()> {
        ensure!(
            matches!(self, Self::Fanfare | Self::FanfareMsgpack),
            "{scenario} continues from a position, and {} has none: choose --target fanfare or \
             fanfare-msgpack",
            self.name()
        );
        Ok(())
    }

    /// Checks that what the target needs besides a URL is there.
    ///
    /// # Errors
    /// Says what to give.
    pub(crate) fn ensure_secret(self, secret: Option<&str>, path: &str) -> anyhow::Result<()> {
        ensure!(
            self != Self::Pusher || secret.is_some() && path.contains("/app/"),
            "--target pusher needs the app's key in the URL, ws://HOST:PORT/app/KEY, and its --secret"
        );
        Ok(())
    }

    /// Whether a subscription is confirmed by an [`Event::Subscribed`].
    pub(crate) fn confirms_subscriptions(self) -> bool {
        !self.topic_in_path()
    }

    /// Whether publications are confirmed by an [`Event::Published`], where asked for.
    pub(crate) fn confirms_publications(self) -> bool {
        match self {
            Self::Centrifugo | Self::Fanfare | Self::FanfareMsgpack | Self::Nats | Self::Nchan => true,
            Self::Bun | Self::FanfareRaw | Self::Fastapi | Self::Floor => false,
            Self::Mqtt | Self::Pusher | Self::Socketio => false,
        }
    }

    /// Which publications it confirms when a schedule is followed, as a report says it: what is said back costs the
    /// server, too.
    pub(crate) fn confirmed(self) -> &'static str {
        match self {
            Self::Centrifugo | Self::Nchan => "each publication is confirmed",
            _ if self.confirms_publications() => "one publication in 64 is confirmed",
            _ => "no publication is confirmed",
        }
    }

    fn topic_in_path(self) -> bool {
        matches!(self, Self::FanfareRaw | Self::Fastapi | Self::Nchan)
    }
}

/// The talk on one connection.
#[derive(Debug)]
pub(crate) enum Dialect {
    Centrifugo(centrifugo::Centrifugo),
    Mqtt(mqtt::Mqtt),
    Nats(nats::Nats),
    Native(native::Native),
    Plain(plain::Plain),
    Pusher(Box<pusher::Pusher>),
    Small(small::Small),
    SocketIo(socketio::SocketIo),
}

impl Dialect {
    /// The talk on a new connection.
    pub(crate) fn new(target: Target, context: &Context<'_>) -> Self {
        let size = context.size;
        let native = |codec| Self::Native(native::Native::new(codec, size, context.number));
        match target {
            Target::Bun | Target::Floor => Self::Small(small::Small::new(size)),
            Target::Centrifugo => Self::Centrifugo(centrifugo::Centrifugo::new(size)),
            Target::Fanfare => native(Codec::Json),
            Target::FanfareMsgpack => native(Codec::MessagePack),
            Target::FanfareRaw | Target::Fastapi | Target::Nchan => Self::Plain(plain::Plain::new(context)),
            Target::Mqtt => Self::Mqtt(mqtt::Mqtt::new(size)),
            Target::Nats => Self::Nats(nats::Nats::new(size)),
            Target::Pusher => Self::Pusher(Box::new(pusher::Pusher::new(context))),
            Target::Socketio => Self::SocketIo(socketio::SocketIo::new(size)),
        }
    }

    /// Appends what is said first. Returns whether the connection is ready at once; if not, an
    /// [`Event::Ready`] will tell.
    pub(crate) fn open(&mut self, out: &mut Outgoing) -> bool {
        match self {
            Self::Centrifugo(centrifugo) => centrifugo.open(out),
            Self::Mqtt(mqtt) => mqtt.open(out),
            Self::Nats(nats) => nats.open(out),
            Self::Native(_) | Self::Plain(_) | Self::Small(_) => return true,
            // The server speaks first.
            Self::Pusher(_) | Self::SocketIo(_) => {}
        }
        false
    }

    /// Appends the wish to subscribe, where [`ensure_positions`](Target::ensure_positions) allows it
    /// after a position. Nothing where connecting was all.
    pub(crate) fn subscribe(&mut self, topic: &TopicName, since: Option<Position>, out: &mut Outgoing) {
        match self {
            Self::Centrifugo(centrifugo) => centrifugo.subscribe(topic, out),
            Self::Mqtt(mqtt) => mqtt.subscribe(topic, out),
            Self::Nats(nats) => nats.subscribe(topic, out),
            Self::Native(native) => native.subscribe(topic, since, out),
            Self::Plain(_) => {}
            Self::Pusher(pusher) => pusher.subscribe(topic, out),
            Self::Small(small) => small.subscribe(topic, out),
            Self::SocketIo(socketio) => socketio.subscribe(topic, out),
        }
    }

    /// Appends a publication of a JSON text; with `confirm` asks for an [`Event::Published`] with that
    /// number: how many were published on this connection, with this one.
    pub(crate) fn publish(
        &mut self,
        topic: &TopicName,
        payload: &[u8],
        confirm: Option<u64>,
        out: &mut Outgoing,
    ) {
        match self {
            Self::Centrifugo(centrifugo) => centrifugo.publish(topic, payload, out),
            Self::Mqtt(mqtt) => mqtt.publish(topic, payload, out),
            Self::Nats(nats) => nats.publish(topic, payload, confirm, out),
            Self::Native(native) => native.publish(topic, payload, confirm, out),
            Self::Plain(plain) => plain.publish(payload, out),
            Self::Pusher(pusher) => pusher.publish(topic, payload, out),
            Self::Small(small) => small.publish(topic, payload, out),
            Self::SocketIo(socketio) => socketio.publish(topic, payload, out),
        }
    }

    /// Reads one WebSocket message: `on_event` sees what it means, in order, until it fails; what must be
    /// answered is appended to `out`.
    ///
    /// A delivery, which is nearly all there is, is not parsed: its stamp is found by its marker. Where a
    /// message says more than its payload, one in some is all the same.
    pub(crate) fn read<E>(
        &mut self,
        message: &[u8],
        out: &mut Outgoing,
        on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Centrifugo(centrifugo) => centrifugo.read(message, out, on_event),
            Self::Mqtt(mqtt) => mqtt.read(message, on_event),
            Self::Nats(nats) => nats.read(message, out, on_event),
            Self::Native(native) => native.read(message, on_event),
            Self::Plain(plain) => plain.read(message, on_event),
            Self::Pusher(pusher) => pusher.read(message, out, on_event),
            Self::Small(small) => small.read(message, on_event),
            Self::SocketIo(socketio) => socketio.read(message, out, on_event),
        }
    }

    /// From now on keeps the last position of each subscription, which costs parsing all messages.
    pub(crate) fn follow_positions(&mut self) {
        if let Self::Native(native) = self {
            native.follow_positions();
        }
    }

    /// Where the subscription to `topic` stands, since [`follow_positions`](Self::follow_positions).
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
        Some((stamp, [])) => Event::Delivery(stamp, None),
        _ => Event::Stray,
    }
}

#[cfg(test)]
mod tests;
