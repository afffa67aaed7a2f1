//! The frames that a client sends: for each type what it reads from its fields, beside what it writes.

use std::borrow::Cow;

use super::fields::{BadField, Fields, bad};
use super::key::{Key, Map};
use super::map::{Entries, FromMap, ToMap};
use crate::frame::{self, ClientFrame, ClientOp, FrameError, OnLag, Token};
use crate::limits::CLIENT_NAME_BYTES_MAX;
use crate::position::Position;
use crate::topic::TopicRef;

type Read<'a> = Result<ClientOp<'a>, BadField>;

impl<'a> FromMap<'a> for ClientFrame<'a> {
    const MAP: Map = Map::Client;

    type Read = Result<Self, FrameError>;

    fn from_map(fields: &mut Fields<'a>) -> Result<Self::Read, BadField> {
        let id = fields.optional(Key::Id);
        // Kept for the error, if there will be one: what was asked of which topic.
        let (known_id, topic) = (id.as_ref().ok().copied().flatten(), fields.topic_as_written());
        let read = id.and_then(|id| Ok(Self { id, op: read(fields)? }));
        Ok(read.map_err(|BadField { code, message }| FrameError {
            id: known_id,
            topic: topic.map(Into::into),
            code,
            message,
        }))
    }
}

fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
    let kind_of_frame: Cow<'_, str> = fields.required(Key::Type)?;
    match &*kind_of_frame {
        Publish::TYPE => Publish::read(fields),
        Connect::TYPE => Connect::read(fields),
        History::TYPE => History::read(fields),
        Ping::TYPE => Ping::read(),
        Presence::TYPE => Presence::read(fields),
        Refresh::TYPE => Refresh::read(fields),
        Subscribe::TYPE => Subscribe::read(fields),
        Unsubscribe::TYPE => Unsubscribe::read(fields),
        unknown => {
            let shown: String = unknown.chars().take(40).collect();
            Err(bad(format!("unknown type \"{shown}\"")))
        }
    }
}

impl ToMap for ClientFrame<'_> {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        let id = self.id;
        match &self.op {
            ClientOp::Publish(publish) => Publish::write(out.head(Publish::TYPE, id)?, publish),
            ClientOp::Connect { token, name, version } => {
                let out = out.head(Connect::TYPE, id)?;
                Connect::write(out, token.as_ref(), name.as_deref(), version.as_deref())
            }
            ClientOp::History { topic, since, limit } => {
                History::write(out.head(History::TYPE, id)?, topic, since.as_ref(), *limit)
            }
            ClientOp::Ping => out.head(Ping::TYPE, id).map(|_| ()),
            ClientOp::Presence { topic, limit } => {
                Presence::write(out.head(Presence::TYPE, id)?, topic, *limit)
            }
            ClientOp::Refresh { token } => Refresh::write(out.head(Refresh::TYPE, id)?, token),
            ClientOp::Subscribe(subscribe) => Subscribe::write(out.head(Subscribe::TYPE, id)?, subscribe),
            ClientOp::Unsubscribe { topic } => Unsubscribe::write(out.head(Unsubscribe::TYPE, id)?, topic),
        }
    }
}

struct Connect;

impl Connect {
    const TYPE: &'static str = "connect";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Connect {
            token: fields.optional(Key::Token)?,
            name: fields.short_text(Key::Name, CLIENT_NAME_BYTES_MAX)?,
            version: fields.short_text(Key::Version, CLIENT_NAME_BYTES_MAX)?,
        })
    }

    fn write<E: Entries>(
        out: &mut E,
        token: Option<&Token<'_>>,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<(), E::Error> {
        out.put_some(Key::Token, token.map(Token::expose))?;
        out.put_some(Key::Name, name)?;
        out.put_some(Key::Version, version)
    }
}

struct History;

impl History {
    const TYPE: &'static str = "history";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::History {
            topic: fields.required(Key::Topic)?,
            since: fields.optional(Key::Since)?,
            limit: fields.optional(Key::Limit)?,
        })
    }

    fn write<E: Entries>(
        out: &mut E,
        topic: &TopicRef<'_>,
        since: Option<&Position>,
        limit: Option<u64>,
    ) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())?;
        out.put_some(Key::Since, since)?;
        out.put_some(Key::Limit, limit)
    }
}

/// Has no fields.
struct Ping;

impl Ping {
    const TYPE: &'static str = "ping";

    fn read<'a>() -> Read<'a> {
        Ok(ClientOp::Ping)
    }
}

struct Presence;

impl Presence {
    const TYPE: &'static str = "presence";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Presence { topic: fields.required(Key::Topic)?, limit: fields.optional(Key::Limit)? })
    }

    fn write<E: Entries>(out: &mut E, topic: &TopicRef<'_>, limit: Option<u64>) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())?;
        out.put_some(Key::Limit, limit)
    }
}

struct Publish;

impl Publish {
    const TYPE: &'static str = "publish";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Publish(frame::Publish {
            topic: fields.required(Key::Topic)?,
            payload: fields.payload()?,
            message_id: fields.message_id()?,
            headers: fields.optional(Key::Headers)?,
        }))
    }

    fn write<E: Entries>(out: &mut E, publish: &frame::Publish<'_>) -> Result<(), E::Error> {
        out.put(Key::Topic, publish.topic.as_str())?;
        out.put_some(Key::Kind, publish.payload.kind().unless_default())?;
        out.put_some(Key::MessageId, publish.message_id.as_deref())?;
        out.put_some(Key::Headers, publish.headers.as_ref())?;
        out.put(Key::Data, &publish.payload)
    }
}

struct Refresh;

impl Refresh {
    const TYPE: &'static str = "refresh";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Refresh { token: fields.required(Key::Token)? })
    }

    fn write<E: Entries>(out: &mut E, token: &Token<'_>) -> Result<(), E::Error> {
        out.put(Key::Token, token.expose())
    }
}

struct Subscribe;

impl Subscribe {
    const TYPE: &'static str = "subscribe";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Subscribe(frame::Subscribe {
            topic: fields.required(Key::Topic)?,
            since: fields.optional(Key::Since)?,
            history: fields.optional(Key::History)?,
            echo: fields.optional(Key::Echo)?.unwrap_or(true),
            presence: fields.optional(Key::Presence)?.unwrap_or(false),
            on_lag: fields.optional(Key::OnLag)?.unwrap_or_default(),
        }))
    }

    /// Defaults are left out.
    fn write<E: Entries>(out: &mut E, subscribe: &frame::Subscribe<'_>) -> Result<(), E::Error> {
        let frame::Subscribe { topic, since, history, echo, presence, on_lag } = subscribe;
        out.put(Key::Topic, topic.as_str())?;
        out.put_some(Key::Since, since.as_ref())?;
        out.put_some(Key::History, *history)?;
        out.put_some(Key::Echo, (!echo).then_some(false))?;
        out.put_some(Key::Presence, presence.then_some(true))?;
        out.put_some(Key::OnLag, (*on_lag != OnLag::default()).then(|| on_lag.as_str()))
    }
}

struct Unsubscribe;

impl Unsubscribe {
    const TYPE: &'static str = "unsubscribe";

    fn read<'a>(fields: &mut Fields<'a>) -> Read<'a> {
        Ok(ClientOp::Unsubscribe { topic: fields.required(Key::Topic)? })
    }

    fn write<E: Entries>(out: &mut E, topic: &TopicRef<'_>) -> Result<(), E::Error> {
        out.put(Key::Topic, topic.as_str())
    }
}
