//! What a frame's keys hold: each value held against what its key asks for.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::Serializer;

use super::data::RawData;
use super::value::Value;
use crate::code::ErrorCode;
use crate::frame::*;
use crate::headers::Headers;
use crate::limits::*;
use crate::payload::{PayloadKind, PayloadRef};
use crate::position::{Epoch, Offset, Position};
use crate::topic::TopicRef;

pub(super) fn offset(offset: Offset) -> Option<Value<'static>> {
    Some(Value::Uint(offset.get()))
}

pub(super) fn uint_or_null(number: Option<u64>) -> Option<Value<'static>> {
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

/// A field that does not hold what its key asks for.
#[derive(Debug)]
pub(crate) struct BadField {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

pub(super) fn bad(message: impl Into<String>) -> BadField {
    BadField { code: ErrorCode::BadRequest, message: message.into() }
}

pub(super) fn wrong<T>(key: &str, expected: &str) -> Result<T, BadField> {
    Err(bad(format!("\"{key}\" is expected to be {expected}")))
}

pub(super) fn required<T>(key: &str, value: Option<T>) -> Result<T, BadField> {
    value.ok_or_else(|| bad(format!("\"{key}\" is missing")))
}

pub(super) type Field<'a> = Option<Value<'a>>;

pub(super) fn text<'a>(key: &str, field: Field<'a>) -> Result<Option<Cow<'a, str>>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(Value::BadStr) => wrong(key, "a string of whole characters, in UTF-8"),
        Some(_) => wrong(key, "a string"),
    }
}

pub(super) fn short_text<'a>(
    key: &str,
    field: Field<'a>,
    max: usize,
) -> Result<Option<Cow<'a, str>>, BadField> {
    let text = text(key, field)?;
    match &text {
        Some(text) if text.len() > max => Err(bad(format!("\"{key}\" may have at most {max} bytes"))),
        _ => Ok(text),
    }
}

pub(super) fn uint(key: &str, field: Field<'_>) -> Result<Option<u64>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Uint(number)) => Ok(Some(number)),
        Some(_) => wrong(key, "a whole number from 0"),
    }
}

pub(super) fn flag(key: &str, field: Field<'_>) -> Result<Option<bool>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => wrong(key, "true or false"),
    }
}

pub(super) fn request_id(field: Field<'_>) -> Result<Option<RequestId>, BadField> {
    match field {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Uint(id)) if RequestId::new(id).is_some() => Ok(RequestId::new(id)),
        Some(_) => wrong("id", "a whole number from 1 to 2^53-1"),
    }
}

pub(super) fn topic<'a>(field: Field<'a>) -> Result<TopicRef<'a>, BadField> {
    let name = required("topic", text("topic", field)?)?;
    TopicRef::new(name).map_err(|e| BadField { code: ErrorCode::InvalidTopic, message: e.to_string() })
}

pub(super) fn epoch(key: &str, field: Field<'_>) -> Result<Epoch, BadField> {
    required(key, text(key, field)?)?.parse().map_err(|e| bad(format!("\"{key}\": {e}")))
}

pub(super) fn since(field: Field<'_>) -> Result<Option<Position>, BadField> {
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

pub(super) fn since_value(position: &Position) -> Value<'_> {
    Value::Map(vec![
        ("epoch".into(), position.epoch.as_str().into()),
        ("offset".into(), Value::Uint(position.offset.get())),
    ])
}

pub(super) fn headers(field: Field<'_>) -> Result<Option<Headers>, BadField> {
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

pub(super) fn wrong_headers<T>() -> Result<T, BadField> {
    let at_most = format!("at most {HEADERS_COUNT_MAX}, and {HEADERS_BYTES_MAX} bytes together");
    wrong("headers", &format!("a map of strings, {at_most}"))
}

pub(super) fn payload<'a>(kind: Field<'a>, data: Option<Data<'a>>) -> Result<PayloadRef<'a>, BadField> {
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

pub(super) fn kind_value(payload: &PayloadRef<'_>) -> Field<'static> {
    match payload.kind() {
        PayloadKind::Json => None,
        kind => Some(kind.as_str().into()),
    }
}

pub(super) fn message_id<'a>(field: Field<'a>) -> Result<Option<Cow<'a, str>>, BadField> {
    let id = text("message_id", field)?;
    if let Some(id) = &id {
        check_message_id(id).map_err(bad)?;
    }
    Ok(id)
}

pub(super) fn token<'a>(field: Field<'a>) -> Result<Option<Token<'a>>, BadField> {
    Ok(short_text("token", field, TOKEN_BYTES_MAX)?.map(Token::new))
}

pub(super) fn read_offset(key: &str, field: Field<'_>) -> Result<Offset, BadField> {
    required(key, uint(key, field)?).map(Offset::new)
}

/// An error code that this version does not know counts as `internal`: it stays an error.
pub(super) fn error_code(field: Field<'_>) -> Result<Option<ErrorCode>, BadField> {
    Ok(text("code", field)?.map(|code| code.parse().unwrap_or(ErrorCode::Internal)))
}
