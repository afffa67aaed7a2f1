//! The kinds of brokers, and what is to be known of each before anything is said.

use anyhow::ensure;
use clap::ValueEnum;
use fanfare_protocol::{Codec, TopicName};

use super::event::Role;

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

    /// Checks that a subscription can go on from a position.
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

    /// Whether a subscription is confirmed by an `Event::Subscribed`.
    pub fn confirms_subscriptions(self) -> bool {
        !self.topic_in_path()
    }

    /// Whether publications are confirmed by an `Event::Published`, where asked for.
    pub(crate) fn confirms_publications(self) -> bool {
        match self {
            Self::Centrifugo | Self::Fanfare | Self::FanfareMsgpack | Self::Nats | Self::Nchan => true,
            Self::Bun | Self::FanfareRaw | Self::Fastapi | Self::Floor => false,
            Self::Mqtt | Self::Pusher | Self::Socketio => false,
        }
    }

    /// Whether the protocol has a ping with a number of its own, beside that of WebSocket which all have.
    pub(crate) fn has_pings(self) -> bool {
        matches!(self, Self::Fanfare | Self::FanfareMsgpack)
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
