//! The talk on one connection, whichever dialect it is in.

use fanfare_protocol::{Codec, Position, TopicName};

use super::event::{Context, Event};
use super::kind::Target;
use super::{centrifugo, mqtt, native, nats, plain, pusher, small, socketio};
use crate::wire::outgoing::Outgoing;

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

    /// Appends the protocol's own ping with a number, counted from 1, which an [`Event::Pong`] answers. Nothing where it
    /// [has none](Target::has_pings).
    pub(crate) fn ping(&self, n: u64, out: &mut Outgoing) {
        if let Self::Native(native) = self {
            native.ping(n, out);
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
