//! The keys of the wire, each written once: for reading, for writing and for what errors say.

use std::fmt;

/// A kind of map on the wire. A key that stands in other kinds alone is as little known in it as one of a later
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    /// A frame that a client sends.
    Client,
    /// A message within the `messages` of a `history`.
    Message,
    /// A frame that a server sends.
    Server,
}

macro_rules! keys {
    ($($key:ident = $name:literal, in $($map:ident)|+;)+) => {
        /// Every key that this version knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Key { $($key,)+ }

        impl Key {
            /// How many there are.
            pub(super) const COUNT: usize = [$(Self::$key),+].len();

            /// The key of that name, if it stands in such maps.
            #[inline]
            pub(super) fn find(name: &str, map: Map) -> Option<Self> {
                match name {
                    $($name if matches!(map, $(Map::$map)|+) => Some(Self::$key),)+
                    _ => None,
                }
            }

            /// The key as it stands on the wire.
            #[inline]
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$key => $name,)+ }
            }
        }
    };
}

// Found from the top downwards, so those of every publication come first.
keys! {
    Type = "type", in Client | Server;
    Id = "id", in Client | Server;
    Topic = "topic", in Client | Server | Message;
    Data = "data", in Client | Server | Message;
    Offset = "offset", in Server | Message;
    Time = "time", in Server | Message;
    From = "from", in Server | Message;
    MessageId = "message_id", in Client | Server | Message;
    Kind = "kind", in Client | Server | Message;
    Headers = "headers", in Client | Server | Message;
    Epoch = "epoch", in Server;
    Duplicate = "duplicate", in Server;

    Code = "code", in Server;
    Connection = "connection", in Server;
    Echo = "echo", in Client;
    ExpiresAt = "expires_at", in Server;
    History = "history", in Client;
    Limit = "limit", in Client;
    Message = "message", in Server;
    MessageSize = "message_size", in Server;
    Messages = "messages", in Server;
    Missed = "missed", in Server;
    Name = "name", in Client;
    OnLag = "on_lag", in Client;
    PingIntervalMs = "ping_interval_ms", in Server;
    Presence = "presence", in Client;
    Recovered = "recovered", in Server;
    Replayed = "replayed", in Server;
    Retryable = "retryable", in Server;
    RetryAfterMs = "retry_after_ms", in Server;
    Server = "server", in Server;
    Since = "since", in Client;
    To = "to", in Server;
    Token = "token", in Client;
    User = "user", in Server;
    Version = "version", in Client;
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
