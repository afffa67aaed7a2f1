//! The frames that a server sends: for each type what it reads from its fields, beside what it writes.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};

use super::fields::{BadField, Fields};
use super::key::{Key, Map};
use super::map::{Entries, FromMap, ToMap, Written};
use crate::code::ErrorCode;
use crate::frame::{self, ErrorFrame, Recovery, RequestId, ServerFrame};
use crate::payload::PayloadRef;
use crate::position::{Epoch, Offset, Position};
use crate::topic::TopicRef;

type Id = Option<RequestId>;
type Read<'a> = Result<ServerFrame<'a>, BadField>;

impl<'a> FromMap<'a> for ServerFrame<'a> {
    const MAP: Map = Map::Server;

    /// `None` for a type this version does not know.
    type Read = Option<Self>;

    fn from_map(fields: &mut Fields<'a>) -> Result<Option<Self>, BadField> {
        let id = fields.optional(Key::Id);
        let frame = read(fields, id.as_ref().ok().copied().flatten())?;
        // What a type that is not known has for an id is its own affair.
        if frame.is_some() {
            id?;
        }
        Ok(frame)
    }
}

fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Result<Option<ServerFrame<'a>>, BadField> {
    let kind_of_frame: Cow<'_, str> = fields.required(Key::Type)?;
    let read = match &*kind_of_frame {
        Message::TYPE => Message::read(fields).map(ServerFrame::Message),
        Published::TYPE => Published::read(fields, id),
        Connected::TYPE => Connected::read(fields, id),
        Error::TYPE => Error::read(fields, id),
        Expiring::TYPE => Expiring::read(fields),
        Gap::TYPE => Gap::read(fields),
        History::TYPE => History::read(fields, id),
        Pong::TYPE => Pong::read(id),
        Refreshed::TYPE => Refreshed::read(fields, id),
        Subscribed::TYPE => Subscribed::read(fields, id),
        Unsubscribed::TYPE => Unsubscribed::read(fields, id),
        _ => return Ok(None),
    };
    read.map(Some)
}

impl ToMap for ServerFrame<'_> {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        match self {
            Self::Message(message) => message.to_map(out),
            Self::Published { id, topic, position, duplicate } => {
                Published::write(out.head(Published::TYPE, *id)?, topic, *position, *duplicate)
            }
            Self::Connected { id, connection, user, server, ping_interval_ms, message_size, expires_at } => {
                let (out, user) = (out.head(Connected::TYPE, *id)?, user.as_deref());
                Connected::write(out, connection, user, server, *ping_interval_ms, *message_size, *expires_at)
            }
            Self::Error(error) => Error::write(out.head(Error::TYPE, error.id)?, error),
            Self::Expiring { expires_at } => Expiring::write(out.head(Expiring::TYPE, None)?, *expires_at),
            Self::Gap(gap) => Gap::write(out.head(Gap::TYPE, None)?, gap),
            Self::History { id, topic, epoch, offset, messages } => {
                History::write(out.head(History::TYPE, *id)?, topic, *epoch, *offset, messages)
            }
            Self::Pong { id } => out.head(Pong::TYPE, *id).map(|_| ()),
            Self::Refreshed { id, expires_at } => {
                Refreshed::write(out.head(Refreshed::TYPE, *id)?, *expires_at)
            }
            Self::Subscribed(subscribed) => {
                Subscribed::write(out.head(Subscribed::TYPE, subscribed.id)?, subscribed)
            }
            Self::Unsubscribed { id, topic, code, message } => {
                let out = out.head(Unsubscribed::TYPE, *id)?;
                Unsubscribed::write(out, topic, *code, message.as_deref())
            }
        }
    }
}

struct Connected;

impl Connected {
    const TYPE: &'static str = "connected";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Connected {
            id,
            connection: fields.required(Key::Connection)?,
            user: fields.optional(Key::User)?,
            server: fields.required(Key::Server)?,
            ping_interval_ms: fields.required(Key::PingIntervalMs)?,
            message_size: fields.optional(Key::MessageSize)?,
            expires_at: fields.optional(Key::ExpiresAt)?,
        })
    }

    fn write<E: Entries>(
        out: &mut E,
        connection: &str,
        user: Option<&str>,
        server: &str,
        ping_interval_ms: u64,
        message_size: Option<u64>,
        expires_at: Option<u64>,
    ) -> Result<(), E::Error> {
        out.put(Key::Connection, connection)?;
        out.put(Key::User, user)?;
        out.put(Key::Server, server)?;
        out.put(Key::PingIntervalMs, ping_interval_ms)?;
        out.put_some(Key::MessageSize, message_size)?;
        out.put_some(Key::ExpiresAt, expires_at)
    }
}

struct Error;

impl Error {
    const TYPE: &'static str = "error";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Error(ErrorFrame {
            id,
            topic: fields.optional(Key::Topic)?,
            code: fields.required(Key::Code)?,
            message: fields.optional(Key::Message)?.unwrap_or_default(),
            retryable: fields.optional(Key::Retryable)?.unwrap_or(false),
            retry_after_ms: fields.optional(Key::RetryAfterMs)?,
        }))
    }

    fn write<E: Entries>(out: &mut E, error: &ErrorFrame<'_>) -> Result<(), E::Error> {
        out.put_some(Key::Topic, error.topic.as_deref())?;
        out.put(Key::Code, error.code.as_str())?;
        out.put(Key::Message, &*error.message)?;
        out.put(Key::Retryable, error.retryable)?;
        out.put_some(Key::RetryAfterMs, error.retry_after_ms)
    }
}

struct Expiring;

impl Expiring {
    const TYPE: &'static str = "expiring";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ServerFrame::Expiring { expires_at: fields.required(Key::ExpiresAt)? })
    }

    fn write<E: Entries>(out: &mut E, expires_at: u64) -> Result<(), E::Error> {
        out.put(Key::ExpiresAt, expires_at)
    }
}

struct Gap;

impl Gap {
    const TYPE: &'static str = "gap";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ServerFrame::Gap(frame::Gap {
            topic: fields.required(Key::Topic)?,
            epoch: fields.required(Key::Epoch)?,
            from: fields.required(Key::From)?,
            to: fields.required(Key::To)?,
            missed: fields.optional(Key::Missed)?,
        }))
    }

    fn write<E: Entries>(out: &mut E, gap: &frame::Gap<'_>) -> Result<(), E::Error> {
        out.put(Key::Topic, gap.topic.as_str())?;
        out.put(Key::Epoch, gap.epoch)?;
        out.put(Key::From, gap.from)?;
        out.put(Key::To, gap.to)?;
        out.put(Key::Missed, gap.missed)
    }
}

struct History;

impl History {
    const TYPE: &'static str = "history";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        let topic = fields.required(Key::Topic)?;
        let Position { epoch, offset } = fields.position()?;
        Ok(ServerFrame::History { id, topic, epoch, offset, messages: fields.messages()? })
    }

    fn write<E: Entries>(
        out: &mut E,
        topic: &TopicRef<'_>,
        epoch: Epoch,
        offset: Offset,
        messages: &[frame::Message<'_>],
    ) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())?;
        out.put(Key::Epoch, epoch)?;
        out.put(Key::Offset, offset)?;
        out.put(Key::Messages, Messages(messages))
    }
}

/// The messages within a `history`: with the entries of a `message` frame, but no frames.
struct Messages<'f>(&'f [frame::Message<'f>]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Within<'f>(&'f frame::Message<'f>);

        impl ToMap for Within<'_> {
            fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
                Message::write(out, self.0, &self.0.payload)
            }
        }

        serializer.collect_seq(self.0.iter().map(|message| Written(Within(message))))
    }
}

struct Message;

impl Message {
    const TYPE: &'static str = "message";

    fn read<'a>(fields: &mut Fields<'a>) -> Result<frame::Message<'a>, BadField> {
        Ok(frame::Message {
            topic: fields.required(Key::Topic)?,
            offset: fields.required(Key::Offset)?,
            time: fields.required(Key::Time)?,
            payload: fields.payload()?,
            message_id: fields.message_id()?,
            headers: fields.optional(Key::Headers)?.map(Cow::Owned),
            from: fields.optional(Key::From)?.flatten(),
        })
    }

    /// Writes it with `data` for its payload.
    fn write<E: Entries>(
        out: &mut E,
        message: &frame::Message<'_>,
        data: &PayloadRef<'_>,
    ) -> Result<(), E::Error> {
        out.put(Key::Topic, message.topic.as_str())?;
        out.put(Key::Offset, message.offset)?;
        out.put_some(Key::From, message.from.as_ref().map(Written))?;
        out.put(Key::Time, message.time)?;
        out.put_some(Key::Kind, message.payload.kind().unless_default())?;
        out.put_some(Key::MessageId, message.message_id.as_deref())?;
        out.put_some(Key::Headers, message.headers.as_deref())?;
        out.put(Key::Data, data)
    }
}

impl<'a> FromMap<'a> for frame::Message<'a> {
    const MAP: Map = Map::Message;

    type Read = Result<Self, BadField>;

    fn from_map(fields: &mut Fields<'a>) -> Result<Self::Read, BadField> {
        Ok(Message::read(fields))
    }
}

impl ToMap for frame::Message<'_> {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        Message::write(out.head(Message::TYPE, None)?, self, &self.payload)
    }
}

impl ToMap for frame::Author<'_> {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        out.put(Key::User, &*self.user)
    }
}

/// A `message` frame with an empty string for its payload.
pub(crate) struct Envelope<'f>(pub(crate) &'f frame::Message<'f>);

impl ToMap for Envelope<'_> {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        let nothing = PayloadRef::Text(Cow::Borrowed(""));
        Message::write(out.head(Message::TYPE, None)?, self.0, &nothing)
    }
}

/// Has no fields but its id.
struct Pong;

impl Pong {
    const TYPE: &'static str = "pong";

    fn read<'a>(id: Id) -> Read<'a> {
        Ok(ServerFrame::Pong { id })
    }
}

struct Published;

impl Published {
    const TYPE: &'static str = "published";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Published {
            id,
            topic: fields.required(Key::Topic)?,
            position: fields.position()?,
            duplicate: fields.optional(Key::Duplicate)?.unwrap_or(false),
        })
    }

    fn write<E: Entries>(
        out: &mut E,
        topic: &TopicRef<'_>,
        position: Position,
        duplicate: bool,
    ) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())?;
        out.put(Key::Epoch, position.epoch)?;
        out.put(Key::Offset, position.offset)?;
        out.put(Key::Duplicate, duplicate)
    }
}

struct Refreshed;

impl Refreshed {
    const TYPE: &'static str = "refreshed";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Refreshed { id, expires_at: fields.optional(Key::ExpiresAt)? })
    }

    fn write<E: Entries>(out: &mut E, expires_at: Option<u64>) -> Result<(), E::Error> {
        out.put(Key::ExpiresAt, expires_at)
    }
}

struct Subscribed;

impl Subscribed {
    const TYPE: &'static str = "subscribed";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Subscribed(frame::Subscribed {
            id,
            topic: fields.required(Key::Topic)?,
            position: fields.position()?,
            recovery: match fields.optional(Key::Recovered)? {
                None => None,
                Some(true) => Some(Recovery::Recovered),
                Some(false) => Some(Recovery::Missed { count: fields.optional(Key::Missed)? }),
            },
            replayed: fields.optional(Key::Replayed)?.unwrap_or(0),
        }))
    }

    fn write<E: Entries>(out: &mut E, subscribed: &frame::Subscribed<'_>) -> Result<(), E::Error> {
        let frame::Subscribed { id: _, topic, position, recovery, replayed } = subscribed;
        out.put(Key::Topic, topic.as_str())?;
        out.put(Key::Epoch, position.epoch)?;
        out.put(Key::Offset, position.offset)?;
        out.put_some(Key::Recovered, recovery.map(|recovery| recovery == Recovery::Recovered))?;
        if let Some(Recovery::Missed { count }) = recovery {
            out.put(Key::Missed, count)?;
        }
        out.put_some(Key::Replayed, (*replayed > 0 || recovery.is_some()).then_some(replayed))
    }
}

struct Unsubscribed;

impl Unsubscribed {
    const TYPE: &'static str = "unsubscribed";

    fn read<'a>(fields: &mut Fields<'a>, id: Id) -> Read<'a> {
        Ok(ServerFrame::Unsubscribed {
            id,
            topic: fields.required(Key::Topic)?,
            code: fields.optional(Key::Code)?,
            message: fields.optional(Key::Message)?,
        })
    }

    fn write<E: Entries>(
        out: &mut E,
        topic: &TopicRef<'_>,
        code: Option<ErrorCode>,
        message: Option<&str>,
    ) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())?;
        out.put_some(Key::Code, code.map(ErrorCode::as_str))?;
        out.put_some(Key::Message, message)
    }
}
