//! The frames that a client sends.

use std::borrow::Cow;

use serde::Serialize;

use super::fields::*;
use super::map::{Slot, Wire};
use super::value::Value;
use crate::frame::*;
use crate::limits::*;

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
