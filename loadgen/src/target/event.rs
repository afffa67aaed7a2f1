//! What a dialect is told of its connection, and what it makes of messages.

use fanfare_protocol::TopicName;

use crate::wire::payload::Stamp;

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
    /// The answer to the ping with this number.
    Pong(u64),
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

/// A payload with nothing around it.
pub(super) fn bare(message: &[u8], size: usize) -> Event {
    match Stamp::find(message, size) {
        Some((stamp, [])) => Event::Delivery(stamp, None),
        _ => Event::Stray,
    }
}
