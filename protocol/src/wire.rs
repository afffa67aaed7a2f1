//! Frames as they stand on the wire: flat maps with every key of the protocol, the same for all codecs.
//!
//! Reading has two steps, so that a bad field can be named and answered: first any map is taken, with
//! the values as they came ([`ClientWire`]), then each value is held against what its key asks for. JSON that cannot be
//! taken quickly is read once more with more [`Care`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;

use crate::code::ErrorCode;
use crate::frame::*;
use crate::headers::Headers;
use crate::limits::*;
use crate::payload::{PayloadKind, PayloadRef, RawData};
use crate::position::{Epoch, Offset, Position};
use crate::topic::TopicRef;
use crate::value::{AnyValue, Care, Value};

fn offset(offset: Offset) -> Option<Value<'static>> {
    Some(Value::Uint(offset.get()))
}

fn uint_or_null(number: Option<u64>) -> Option<Value<'static>> {
    Some(number.map_or(Value::Null, Value::Uint))
}

/// The field `data`: on its way in its kind is not known yet, on its way out it is a payload.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    In(RawData<'a>),
    Out(PayloadRef<'a>),
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::In(_) => serializer.serialize_unit(),
            Self::Out(payload) => payload.serialize(serializer),
        }
    }
}

/// Every key that a client sends.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClientWire<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind_of_frame: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_lag: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

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

/// Where the value of a key is put.
pub(crate) enum Slot<'s, 'a> {
    Value(&'s mut Option<Value<'a>>),
    Data(&'s mut Option<Data<'a>>),
    Messages(&'s mut Option<Vec<MessageWire<'a>>>),
}

/// A map as it stands on the wire, and what it is read as.
pub(crate) trait Wire<'a>: Default {
    type Read;

    /// The place of that key's value; `None` for a key that is not known.
    fn slot(&mut self, key: &str) -> Option<Slot<'_, 'a>>;

    /// What the map stands for.
    fn read(self) -> Result<Self::Read, BadField>;
}

impl<'a> Wire<'a> for ClientWire<'a> {
    type Read = Result<ClientFrame<'a>, FrameError>;

    fn slot(&mut self, key: &str) -> Option<Slot<'_, 'a>> {
        Some(Slot::Value(match key {
            "type" => &mut self.kind_of_frame,
            "id" => &mut self.id,
            "topic" => &mut self.topic,
            "data" => return Some(Slot::Data(&mut self.data)),
            "message_id" => &mut self.message_id,
            "kind" => &mut self.kind,
            "headers" => &mut self.headers,
            "token" => &mut self.token,
            "name" => &mut self.name,
            "version" => &mut self.version,
            "since" => &mut self.since,
            "history" => &mut self.history,
            "limit" => &mut self.limit,
            "echo" => &mut self.echo,
            "presence" => &mut self.presence,
            "on_lag" => &mut self.on_lag,
            _ => return None,
        }))
    }

    fn read(self) -> Result<Self::Read, BadField> {
        Ok(self.into_frame())
    }
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

/// Reads a map, and nothing that a codec might take for one. An entry whose key is no text is skipped, as an unknown
/// key is: MessagePack allows any value for a key, and a JSON text may be half a character.
struct OneMap<W>(Care, PhantomData<W>);

impl<'de, W: Wire<'de>> Visitor<'de> for OneMap<W> {
    type Value = W::Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<W::Read, A::Error> {
        let mut wire = W::default();
        while let Some(key) = map.next_key_seed(AnyValue::within_map(self.0))? {
            let Value::Str(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let twice = || de::Error::custom(format_args!("\"{key}\" stands twice in one frame"));
            match wire.slot(&key) {
                Some(Slot::Value(slot)) => put(slot, map.next_value_seed(AnyValue::field(self.0))?, twice)?,
                Some(Slot::Data(slot)) => put(slot, Data::In(map.next_value()?), twice)?,
                Some(Slot::Messages(slot)) => put(slot, map.next_value_seed(Messages(self.0))?, twice)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        wire.read().map_err(|bad| de::Error::custom(bad.message))
    }
}

fn put<T, E>(slot: &mut Option<T>, value: T, twice: impl FnOnce() -> E) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

impl<'de, W: Wire<'de>> DeserializeSeed<'de> for OneMap<W> {
    type Value = W::Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<W::Read, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Reads the messages of a `history`; null is none.
struct Messages(Care);

impl<'de> Visitor<'de> for Messages {
    type Value = Vec<MessageWire<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = seq.next_element_seed(OneMap::<MessageWire<'de>>(self.0, PhantomData))? {
            messages.push(message);
        }
        Ok(messages)
    }
}

impl<'de> DeserializeSeed<'de> for Messages {
    type Value = Vec<MessageWire<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Reads one map, or an array of at most [`FRAMES_PER_MESSAGE_MAX`] of them. What each came as is gone by the time the
/// next one is read.
pub(crate) struct Maps<W>(Care, PhantomData<W>);

impl<W> Maps<W> {
    pub(crate) fn new(care: Care) -> Self {
        Self(care, PhantomData)
    }
}

impl<'de, W: Wire<'de>> Visitor<'de> for Maps<W> {
    type Value = Vec<W::Read>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or an array of maps")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(vec![OneMap::<W>(self.0, PhantomData).visit_map(map)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut frames = Vec::new();
        while let Some(frame) = seq.next_element_seed(OneMap::<W>(self.0, PhantomData))? {
            if frames.len() == FRAMES_PER_MESSAGE_MAX {
                return Err(de::Error::custom(format_args!(
                    "more than {FRAMES_PER_MESSAGE_MAX} frames in one message"
                )));
            }
            frames.push(frame);
        }
        Ok(frames)
    }
}

impl<'de, W: Wire<'de>> DeserializeSeed<'de> for Maps<W> {
    type Value = Vec<W::Read>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A field that does not hold what its key asks for.
#[derive(Debug)]
pub(crate) struct BadField {
    code: ErrorCode,
    message: String,
}

fn bad(message: impl Into<String>) -> BadField {
    BadField { code: ErrorCode::BadRequest, message: message.into() }
}

fn wrong<T>(key: &str, expected: &str) -> Result<T, BadField> {
    Err(bad(format!("\"{key}\" is expected to be {expected}")))
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, BadField> {
    value.ok_or_else(|| bad(format!("\"{key}\" is missing")))
}

type Field<'a> = Option<Value<'a>>;

fn text<'a>(key: &str, field: Field<'a>) -> Result<Option<Cow<'a, str>>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(Value::BadStr) => wrong(key, "a string of whole characters, in UTF-8"),
        Some(_) => wrong(key, "a string"),
    }
}

fn short_text<'a>(key: &str, field: Field<'a>, max: usize) -> Result<Option<Cow<'a, str>>, BadField> {
    let text = text(key, field)?;
    match &text {
        Some(text) if text.len() > max => Err(bad(format!("\"{key}\" may have at most {max} bytes"))),
        _ => Ok(text),
    }
}

fn uint(key: &str, field: Field<'_>) -> Result<Option<u64>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Uint(number)) => Ok(Some(number)),
        Some(_) => wrong(key, "a whole number from 0"),
    }
}

fn flag(key: &str, field: Field<'_>) -> Result<Option<bool>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => wrong(key, "true or false"),
    }
}

fn request_id(field: Field<'_>) -> Result<Option<RequestId>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Uint(id)) if RequestId::new(id).is_some() => Ok(RequestId::new(id)),
        Some(_) => wrong("id", "a whole number from 1 to 2^53-1"),
    }
}

fn topic<'a>(field: Field<'a>) -> Result<TopicRef<'a>, BadField> {
    let name = required("topic", text("topic", field)?)?;
    TopicRef::new(name).map_err(|e| BadField { code: ErrorCode::InvalidTopic, message: e.to_string() })
}

fn epoch(key: &str, field: Field<'_>) -> Result<Epoch, BadField> {
    required(key, text(key, field)?)?.parse().map_err(|e| bad(format!("\"{key}\": {e}")))
}

fn since(field: Field<'_>) -> Result<Option<Position>, BadField> {
    let entries = match field {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Map(entries)) => entries,
        Some(_) => return wrong("since", "a map of \"epoch\" and \"offset\""),
    };
    let (mut epoch_field, mut offset_field) = (None, None);
    for (key, value) in entries {
        match key {
            Value::Str(key) if key == "epoch" => epoch_field = Some(value),
            Value::Str(key) if key == "offset" => offset_field = Some(value),
            _ => {}
        }
    }
    let offset = required("since.offset", uint("since.offset", offset_field)?)?;
    Ok(Some(Position { epoch: epoch("since.epoch", epoch_field)?, offset: Offset::new(offset) }))
}

fn since_value(position: &Position) -> Value<'_> {
    Value::Map(vec![
        ("epoch".into(), position.epoch.as_str().into()),
        ("offset".into(), Value::Uint(position.offset.get())),
    ])
}

fn headers(field: Field<'_>) -> Result<Option<Headers>, BadField> {
    let entries = match field {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Map(entries)) => entries,
        Some(_) => return wrong_headers(),
    };
    let texts = entries.into_iter().map(|entry| match entry {
        (Value::Str(name), Value::Str(value)) => Ok((name, value)),
        _ => wrong_headers(),
    });
    Headers::new(texts.collect::<Result<Vec<_>, _>>()?).map(Some).map_err(bad)
}

fn wrong_headers<T>() -> Result<T, BadField> {
    let at_most = format!("at most {HEADERS_COUNT_MAX}, and {HEADERS_BYTES_MAX} bytes together");
    wrong("headers", &format!("a map of strings, {at_most}"))
}

fn payload<'a>(kind: Field<'a>, data: Option<Data<'a>>) -> Result<PayloadRef<'a>, BadField> {
    let kind = match text("kind", kind)? {
        None => PayloadKind::Json,
        Some(kind) => match PayloadKind::parse(&kind) {
            Some(kind) => kind,
            None => return wrong("kind", "\"json\", \"text\" or \"binary\""),
        },
    };
    match required("data", data)? {
        Data::In(data) => data.into_payload(kind).map_err(|e| bad(format!("\"data\": {e}"))),
        Data::Out(payload) => Ok(payload),
    }
}

fn kind_value(payload: &PayloadRef<'_>) -> Field<'static> {
    match payload.kind() {
        PayloadKind::Json => None,
        kind => Some(kind.as_str().into()),
    }
}

fn message_id<'a>(field: Field<'a>) -> Result<Option<Cow<'a, str>>, BadField> {
    let id = text("message_id", field)?;
    if let Some(id) = &id {
        check_message_id(id).map_err(bad)?;
    }
    Ok(id)
}

fn token<'a>(field: Field<'a>) -> Result<Option<Token<'a>>, BadField> {
    Ok(short_text("token", field, TOKEN_BYTES_MAX)?.map(Token::new))
}

impl<'a> ClientWire<'a> {
    /// The frame that the map stands for.
    fn into_frame(mut self) -> Result<ClientFrame<'a>, FrameError> {
        let id = request_id(self.id.take());
        // Kept for the error, if there will be one: what was asked of which topic.
        let topic = match &self.topic {
            Some(Value::Str(topic)) if topic.len() <= TOPIC_NAME_BYTES_MAX => Some(topic.clone()),
            _ => None,
        };
        let read = match id {
            Ok(id) => self.into_op().map(|op| ClientFrame { id, op }),
            Err(ref e) => Err(bad(e.message.clone())),
        };
        read.map_err(|BadField { code, message }| FrameError {
            id: id.ok().flatten(),
            topic: topic.map(Cow::into_owned),
            code,
            message,
        })
    }

    fn into_op(self) -> Result<ClientOp<'a>, BadField> {
        let kind_of_frame = required("type", text("type", self.kind_of_frame)?)?;
        Ok(match &*kind_of_frame {
            "connect" => ClientOp::Connect {
                token: token(self.token)?,
                name: short_text("name", self.name, CLIENT_NAME_BYTES_MAX)?,
                version: short_text("version", self.version, CLIENT_NAME_BYTES_MAX)?,
            },
            "history" => ClientOp::History {
                topic: topic(self.topic)?,
                since: since(self.since)?,
                limit: uint("limit", self.limit)?,
            },
            "ping" => ClientOp::Ping,
            "presence" => ClientOp::Presence { topic: topic(self.topic)?, limit: uint("limit", self.limit)? },
            "publish" => ClientOp::Publish(Publish {
                topic: topic(self.topic)?,
                payload: payload(self.kind, self.data)?,
                message_id: message_id(self.message_id)?,
                headers: headers(self.headers)?,
            }),
            "refresh" => ClientOp::Refresh { token: required("token", token(self.token)?)? },
            "subscribe" => ClientOp::Subscribe(Subscribe {
                topic: topic(self.topic)?,
                since: since(self.since)?,
                history: uint("history", self.history)?,
                echo: flag("echo", self.echo)?.unwrap_or(true),
                presence: flag("presence", self.presence)?.unwrap_or(false),
                on_lag: on_lag(self.on_lag)?,
            }),
            "unsubscribe" => ClientOp::Unsubscribe { topic: topic(self.topic)? },
            unknown => {
                let shown: String = unknown.chars().take(40).collect();
                return Err(bad(format!("unknown type \"{shown}\"")));
            }
        })
    }

    /// The map that stands for the frame.
    pub(crate) fn from_frame(frame: &'a ClientFrame<'_>) -> Self {
        let id = frame.id.map(|id| Value::Uint(id.get()));
        let wire = |kind_of_frame: &'static str| Self {
            kind_of_frame: Some(kind_of_frame.into()),
            id: id.clone(),
            ..Self::default()
        };
        let text = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(Value::from);
        match &frame.op {
            ClientOp::Connect { token, name, version } => Self {
                token: token.as_ref().map(|token| token.expose().into()),
                name: text(name),
                version: text(version),
                ..wire("connect")
            },
            ClientOp::History { topic, since, limit } => Self {
                topic: Some(topic.as_str().into()),
                since: since.as_ref().map(since_value),
                limit: limit.map(Value::Uint),
                ..wire("history")
            },
            ClientOp::Ping => wire("ping"),
            ClientOp::Presence { topic, limit } => {
                Self { topic: Some(topic.as_str().into()), limit: limit.map(Value::Uint), ..wire("presence") }
            }
            ClientOp::Publish(publish) => Self {
                topic: Some(publish.topic.as_str().into()),
                kind: kind_value(&publish.payload),
                data: Some(Data::Out(publish.payload.reborrow())),
                message_id: text(&publish.message_id),
                headers: publish.headers.as_ref().map(Value::Headers),
                ..wire("publish")
            },
            ClientOp::Refresh { token } => Self { token: Some(token.expose().into()), ..wire("refresh") },
            ClientOp::Subscribe(subscribe) => Self {
                topic: Some(subscribe.topic.as_str().into()),
                since: subscribe.since.as_ref().map(since_value),
                history: subscribe.history.map(Value::Uint),
                echo: (!subscribe.echo).then_some(Value::Bool(false)),
                presence: subscribe.presence.then_some(Value::Bool(true)),
                on_lag: (subscribe.on_lag != OnLag::Gap).then(|| subscribe.on_lag.as_str().into()),
                ..wire("subscribe")
            },
            ClientOp::Unsubscribe { topic } => {
                Self { topic: Some(topic.as_str().into()), ..wire("unsubscribe") }
            }
        }
    }
}

fn on_lag(field: Field<'_>) -> Result<OnLag, BadField> {
    match text("on_lag", field)? {
        None => Ok(OnLag::default()),
        Some(policy) => match OnLag::parse(&policy) {
            Some(policy) => Ok(policy),
            None => wrong("on_lag", "\"gap\", \"latest\" or \"disconnect\""),
        },
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

fn read_offset(key: &str, field: Field<'_>) -> Result<Offset, BadField> {
    required(key, uint(key, field)?).map(Offset::new)
}

/// An error code that this version does not know counts as `internal`: it stays an error.
fn error_code(field: Field<'_>) -> Result<Option<ErrorCode>, BadField> {
    Ok(text("code", field)?.map(|code| code.parse().unwrap_or(ErrorCode::Internal)))
}

fn author(entries: Vec<(Value<'_>, Value<'_>)>) -> Option<Author<'static>> {
    entries.into_iter().find_map(|(key, value)| match value {
        Value::Str(user) if key == "user".into() => Some(Author { user: Cow::Owned(user.into_owned()) }),
        _ => None,
    })
}
