//! The frames that a server sends.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::Serializer;

use super::fields::*;
use super::map::{Slot, Wire};
use super::value::Value;
use crate::frame::*;
use crate::payload::PayloadRef;
use crate::position::{Epoch, Offset, Position};

/// Every key that a server sends.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ServerWire<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind_of_frame: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ping_interval_ms: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_size: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<MessageWire<'a>>>,
}

/// Every key of a message within `messages`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct MessageWire<'a> {
    /// Only where it is a frame of its own.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind_of_frame: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

/// Every key of a `published` reply, which is written once a publication: a map with every key that a server sends takes
/// longer to look through than this takes to write.
#[derive(Debug, Serialize)]
struct PublishedWire<'a> {
    #[serde(rename = "type")]
    kind_of_frame: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    topic: &'a str,
    epoch: Epoch,
    offset: Offset,
    duplicate: bool,
}

impl<'a> Wire<'a> for ServerWire<'a> {
    /// `None` for a type this version does not know.
    type Read = Option<ServerFrame<'a>>;

    fn slot(&mut self, key: &str) -> Option<Slot<'_, 'a>> {
        Some(Slot::Value(match key {
            "type" => &mut self.kind_of_frame,
            "id" => &mut self.id,
            "topic" => &mut self.topic,
            "data" => return Some(Slot::Data(&mut self.data)),
            "epoch" => &mut self.epoch,
            "offset" => &mut self.offset,
            "time" => &mut self.time,
            "from" => &mut self.from,
            "to" => &mut self.to,
            "duplicate" => &mut self.duplicate,
            "recovered" => &mut self.recovered,
            "missed" => &mut self.missed,
            "replayed" => &mut self.replayed,
            "connection" => &mut self.connection,
            "user" => &mut self.user,
            "server" => &mut self.server,
            "ping_interval_ms" => &mut self.ping_interval_ms,
            "message_size" => &mut self.message_size,
            "expires_at" => &mut self.expires_at,
            "code" => &mut self.code,
            "message" => &mut self.message,
            "retryable" => &mut self.retryable,
            "kind" => &mut self.kind,
            "message_id" => &mut self.message_id,
            "headers" => &mut self.headers,
            "messages" => return Some(Slot::Messages(&mut self.messages)),
            _ => return None,
        }))
    }

    fn read(self) -> Result<Self::Read, BadField> {
        self.into_frame()
    }
}

impl<'a> Wire<'a> for MessageWire<'a> {
    type Read = Self;

    fn slot(&mut self, key: &str) -> Option<Slot<'_, 'a>> {
        Some(Slot::Value(match key {
            "topic" => &mut self.topic,
            "offset" => &mut self.offset,
            "from" => &mut self.from,
            "time" => &mut self.time,
            "kind" => &mut self.kind,
            "message_id" => &mut self.message_id,
            "headers" => &mut self.headers,
            "data" => return Some(Slot::Data(&mut self.data)),
            _ => return None,
        }))
    }

    fn read(self) -> Result<Self, BadField> {
        Ok(self)
    }
}

impl<'a> ServerWire<'a> {
    /// The frame that the map stands for; `None` for a type this version does not know.
    fn into_frame(mut self) -> Result<Option<ServerFrame<'a>>, BadField> {
        let id = request_id(self.id.take());
        let frame = self.into_known(id.as_ref().ok().copied().flatten())?;
        // What a type that is not known has for an id is its own affair.
        if frame.is_some() {
            id?;
        }
        Ok(frame)
    }

    fn into_known(self, id: Option<RequestId>) -> Result<Option<ServerFrame<'a>>, BadField> {
        let kind_of_frame = required("type", text("type", self.kind_of_frame.clone())?)?;
        Ok(Some(match &*kind_of_frame {
            "connected" => ServerFrame::Connected {
                id,
                connection: required("connection", text("connection", self.connection)?)?,
                user: text("user", self.user)?,
                server: required("server", text("server", self.server)?)?,
                ping_interval_ms: required(
                    "ping_interval_ms",
                    uint("ping_interval_ms", self.ping_interval_ms)?,
                )?,
                message_size: uint("message_size", self.message_size)?,
                expires_at: uint("expires_at", self.expires_at)?,
            },
            "error" => ServerFrame::Error(ErrorFrame {
                id,
                topic: text("topic", self.topic)?,
                code: required("code", error_code(self.code)?)?,
                message: text("message", self.message)?.unwrap_or_default(),
                retryable: flag("retryable", self.retryable)?.unwrap_or(false),
            }),
            "gap" => ServerFrame::Gap(Gap {
                topic: topic(self.topic)?,
                epoch: epoch("epoch", self.epoch)?,
                from: read_offset("from", self.from)?,
                to: read_offset("to", self.to)?,
                missed: uint("missed", self.missed)?,
            }),
            "history" => {
                let topic = topic(self.topic)?;
                let messages = self.messages.unwrap_or_default().into_iter();
                ServerFrame::History {
                    id,
                    epoch: epoch("epoch", self.epoch)?,
                    offset: read_offset("offset", self.offset)?,
                    messages: messages.map(MessageWire::into_message).collect::<Result<_, _>>()?,
                    topic,
                }
            }
            "message" => ServerFrame::Message(MessageWire::from(self).into_message()?),
            "pong" => ServerFrame::Pong { id },
            "published" => ServerFrame::Published {
                id,
                topic: topic(self.topic)?,
                position: Position {
                    epoch: epoch("epoch", self.epoch)?,
                    offset: read_offset("offset", self.offset)?,
                },
                duplicate: flag("duplicate", self.duplicate)?.unwrap_or(false),
            },
            "refreshed" => ServerFrame::Refreshed { id, expires_at: uint("expires_at", self.expires_at)? },
            "subscribed" => ServerFrame::Subscribed(Subscribed {
                id,
                topic: topic(self.topic)?,
                position: Position {
                    epoch: epoch("epoch", self.epoch)?,
                    offset: read_offset("offset", self.offset)?,
                },
                recovery: match flag("recovered", self.recovered)? {
                    None => None,
                    Some(true) => Some(Recovery::Recovered),
                    Some(false) => Some(Recovery::Missed { count: uint("missed", self.missed)? }),
                },
                replayed: uint("replayed", self.replayed)?.unwrap_or(0),
            }),
            "unsubscribed" => ServerFrame::Unsubscribed {
                id,
                topic: topic(self.topic)?,
                code: error_code(self.code)?,
                message: text("message", self.message)?,
            },
            _ => return Ok(None),
        }))
    }
}

/// A server's frame on its way out.
pub(crate) struct WrittenFrame<'f>(pub(crate) &'f ServerFrame<'f>);

impl Serialize for WrittenFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = |kind_of_frame: &'static str, id: &Option<RequestId>| ServerWire {
            kind_of_frame: Some(kind_of_frame.into()),
            id: id.map(|id| Value::Uint(id.get())),
            ..ServerWire::default()
        };
        let wire = match self.0 {
            ServerFrame::Connected {
                id,
                connection,
                user,
                server,
                ping_interval_ms,
                message_size,
                expires_at,
            } => ServerWire {
                connection: Some((**connection).into()),
                user: Some(user.as_deref().map_or(Value::Null, Value::from)),
                server: Some((**server).into()),
                ping_interval_ms: Some(Value::Uint(*ping_interval_ms)),
                message_size: message_size.map(Value::Uint),
                expires_at: expires_at.map(Value::Uint),
                ..wire("connected", id)
            },
            ServerFrame::Error(error) => ServerWire {
                topic: error.topic.as_deref().map(Value::from),
                code: Some(error.code.as_str().into()),
                message: Some((*error.message).into()),
                retryable: Some(Value::Bool(error.retryable)),
                ..wire("error", &error.id)
            },
            ServerFrame::Gap(gap) => ServerWire {
                topic: Some(gap.topic.as_str().into()),
                epoch: Some(gap.epoch.as_str().into()),
                from: offset(gap.from),
                to: offset(gap.to),
                missed: uint_or_null(gap.missed),
                ..wire("gap", &None)
            },
            ServerFrame::History { id, topic, epoch, offset: head, messages } => ServerWire {
                topic: Some(topic.as_str().into()),
                epoch: Some(epoch.as_str().into()),
                offset: offset(*head),
                messages: Some(messages.iter().map(MessageWire::within).collect()),
                ..wire("history", id)
            },
            ServerFrame::Message(message) => return MessageWire::frame(message).serialize(serializer),
            ServerFrame::Pong { id } => wire("pong", id),
            ServerFrame::Published { id, topic, position, duplicate } => {
                let published = PublishedWire {
                    kind_of_frame: "published",
                    id: id.map(RequestId::get),
                    topic: topic.as_str(),
                    epoch: position.epoch,
                    offset: position.offset,
                    duplicate: *duplicate,
                };
                return published.serialize(serializer);
            }
            ServerFrame::Refreshed { id, expires_at } => {
                ServerWire { expires_at: uint_or_null(*expires_at), ..wire("refreshed", id) }
            }
            ServerFrame::Subscribed(subscribed) => ServerWire {
                topic: Some(subscribed.topic.as_str().into()),
                epoch: Some(subscribed.position.epoch.as_str().into()),
                offset: offset(subscribed.position.offset),
                recovered: subscribed.recovery.map(|r| Value::Bool(r == Recovery::Recovered)),
                missed: match subscribed.recovery {
                    Some(Recovery::Missed { count }) => uint_or_null(count),
                    _ => None,
                },
                replayed: (subscribed.replayed > 0 || subscribed.recovery.is_some())
                    .then_some(Value::Uint(subscribed.replayed)),
                ..wire("subscribed", &subscribed.id)
            },
            ServerFrame::Unsubscribed { id, topic, code, message } => ServerWire {
                topic: Some(topic.as_str().into()),
                code: code.map(|code| code.as_str().into()),
                message: message.as_deref().map(Value::from),
                ..wire("unsubscribed", id)
            },
        };
        wire.serialize(serializer)
    }
}

impl<'a> MessageWire<'a> {
    fn into_message(self) -> Result<Message<'a>, BadField> {
        Ok(Message {
            topic: topic(self.topic)?,
            offset: read_offset("offset", self.offset)?,
            time: required("time", uint("time", self.time)?)?,
            payload: payload(self.kind, self.data)?,
            message_id: message_id(self.message_id)?,
            headers: headers(self.headers)?.map(Cow::Owned),
            from: match self.from {
                None | Some(Value::Null) => None,
                Some(Value::Map(entries)) => author(entries),
                Some(_) => return wrong("from", "a map"),
            },
        })
    }

    /// The map that stands for a `message` frame.
    pub(crate) fn frame(message: &'a Message<'_>) -> Self {
        Self { kind_of_frame: Some("message".into()), ..Self::within(message) }
    }

    /// The map that stands for a `message` frame, with an empty string for its payload.
    pub(crate) fn envelope(message: &'a Message<'_>) -> Self {
        let nothing = Data::Out(PayloadRef::Text("".into()));
        Self { data: Some(nothing), ..Self::frame(message) }
    }

    /// The map that stands for a message within `messages`.
    fn within(message: &'a Message<'_>) -> Self {
        let author = |author: &'a Author<'_>| Value::Map(vec![("user".into(), (*author.user).into())]);
        Self {
            kind_of_frame: None,
            topic: Some(message.topic.as_str().into()),
            offset: offset(message.offset),
            from: message.from.as_ref().map(author),
            time: Some(Value::Uint(message.time)),
            kind: kind_value(&message.payload),
            message_id: message.message_id.as_deref().map(Value::from),
            headers: message.headers.as_deref().map(Value::Headers),
            data: Some(Data::Out(message.payload.reborrow())),
        }
    }
}

impl<'a> From<ServerWire<'a>> for MessageWire<'a> {
    fn from(wire: ServerWire<'a>) -> Self {
        let ServerWire { kind_of_frame, topic, offset, from, time, kind, message_id, headers, data, .. } =
            wire;
        Self { kind_of_frame, topic, offset, from, time, kind, message_id, headers, data }
    }
}

fn author(entries: Vec<(Value<'_>, Value<'_>)>) -> Option<Author<'static>> {
    entries.into_iter().find_map(|(key, value)| match value {
        Value::Str(user) if key == "user".into() => Some(Author { user: Cow::Owned(user.into_owned()) }),
        _ => None,
    })
}
