//! The fields of a frame: the values of its keys as they came, and what each key asks its value to be.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use super::data::RawData;
use super::key::Key;
use super::value::Value;
use crate::code::ErrorCode;
use crate::frame::{Author, Message, OnLag, RequestId, Token, check_message_id};
use crate::headers::Headers;
use crate::limits::{HEADERS_BYTES_MAX, HEADERS_COUNT_MAX, TOKEN_BYTES_MAX, TOPIC_NAME_BYTES_MAX};
use crate::payload::{PayloadKind, PayloadRef};
use crate::position::{Epoch, Offset, Position};
use crate::topic::TopicRef;

/// Values that there is a place for without an allocation: more than a publication has.
const VALUES_INLINE: usize = 8;

/// The values of one map by their keys. Each can be taken once; an optional one that is null counts as absent.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// In the order in which they came; those of [`Key::Data`] and [`Key::Messages`] have places of their own.
    values: SmallVec<[Option<Value<'a>>; VALUES_INLINE]>,
    /// Where among these the value of each key is, by the key's number and counted from 1; 0 where it is absent. A frame has
    /// a few of many keys, and a place for each value would be four times the bytes.
    places: [u8; Key::COUNT],
    data: Option<RawData<'a>>,
    messages: Option<Vec<Result<Message<'a>, BadField>>>,
}

impl<'a> Fields<'a> {
    /// The fields of an empty map.
    pub(super) fn new() -> Self {
        Self { values: SmallVec::new(), places: [0; Key::COUNT], data: None, messages: None }
    }

    /// Puts the value of a key; false where there was one already, as with those below.
    pub(super) fn put(&mut self, key: Key, value: Value<'a>) -> bool {
        let place = &mut self.places[key as usize];
        if *place != 0 {
            return false;
        }
        self.values.push(Some(value));
        *place = self.values.len() as u8;
        true
    }

    pub(super) fn put_data(&mut self, data: RawData<'a>) -> bool {
        self.data.replace(data).is_none()
    }

    pub(super) fn put_messages(&mut self, messages: Vec<Result<Message<'a>, BadField>>) -> bool {
        self.messages.replace(messages).is_none()
    }

    fn find(&self, key: Key) -> Option<usize> {
        usize::from(self.places[key as usize]).checked_sub(1)
    }

    fn take(&mut self, key: Key) -> Option<Value<'a>> {
        self.find(key).and_then(|at| self.values[at].take())
    }

    /// The value of a key that may be absent.
    pub(super) fn optional<T: FromValue<'a>>(&mut self, key: Key) -> Result<Option<T>, BadField> {
        optional(key.into(), self.take(key))
    }

    /// The value of a key that may not.
    pub(super) fn required<T: FromValue<'a>>(&mut self, key: Key) -> Result<T, BadField> {
        required(key.into(), self.take(key))
    }

    /// A text of at most `max` bytes, which may be absent.
    pub(super) fn short_text(&mut self, key: Key, max: usize) -> Result<Option<Cow<'a, str>>, BadField> {
        self.optional(key)?.map(|text| at_most(key.into(), text, max)).transpose()
    }

    /// The id that makes a retry safe.
    pub(super) fn message_id(&mut self) -> Result<Option<Cow<'a, str>>, BadField> {
        let id: Option<Cow<'a, str>> = self.optional(Key::MessageId)?;
        if let Some(id) = &id {
            check_message_id(id).map_err(bad)?;
        }
        Ok(id)
    }

    /// The payload: data as its kind asks, and null is data too.
    pub(super) fn payload(&mut self) -> Result<PayloadRef<'a>, BadField> {
        let kind = self.optional(Key::Kind)?.unwrap_or_default();
        let data = self.data.take().ok_or_else(|| missing(Key::Data.into()))?;
        data.into_payload(kind).map_err(|e| bad(format!("\"{}\": {e}", Key::Data)))
    }

    /// A position whose epoch and offset are fields of the frame itself.
    pub(super) fn position(&mut self) -> Result<Position, BadField> {
        Ok(Position { epoch: self.required(Key::Epoch)?, offset: self.required(Key::Offset)? })
    }

    /// The messages within a `history`.
    pub(super) fn messages(&mut self) -> Result<Vec<Message<'a>>, BadField> {
        self.messages.take().unwrap_or_default().into_iter().collect()
    }

    /// The topic as it was written, good or not, unless it is too long to repeat. It is not taken.
    pub(super) fn topic_as_written(&self) -> Option<Cow<'a, str>> {
        match self.find(Key::Topic).and_then(|at| self.values[at].as_ref()) {
            Some(Value::Str(topic)) if topic.len() <= TOPIC_NAME_BYTES_MAX => Some(topic.clone()),
            _ => None,
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

fn missing(at: Place) -> BadField {
    bad(format!("\"{at}\" is missing"))
}

fn wrong(at: Place, expected: impl fmt::Display) -> BadField {
    bad(format!("\"{at}\" is expected to be {expected}"))
}

/// Where a value stands, for errors: its key, after that of the map it is in where this is a value itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    within: Option<Key>,
    key: Key,
}

impl From<Key> for Place {
    fn from(key: Key) -> Self {
        Self { within: None, key }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.within {
            None => write!(f, "{}", self.key),
            Some(outer) => write!(f, "{outer}.{}", self.key),
        }
    }
}

/// What a key may ask its value to be.
pub(super) trait FromValue<'a>: Sized {
    /// What the `value` says.
    ///
    /// # Errors
    /// Says what it is expected to be, and where it stands.
    fn from_value(at: Place, value: Value<'a>) -> Result<Self, BadField>;
}

fn optional<'a, T: FromValue<'a>>(at: Place, value: Option<Value<'a>>) -> Result<Option<T>, BadField> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::from_value(at, value).map(Some),
    }
}

fn required<'a, T: FromValue<'a>>(at: Place, value: Option<Value<'a>>) -> Result<T, BadField> {
    optional(at, value)?.ok_or_else(|| missing(at))
}

fn text<'a>(at: Place, value: Value<'a>) -> Result<Cow<'a, str>, BadField> {
    match value {
        Value::Str(text) => Ok(text),
        Value::BadStr => Err(wrong(at, "a string of whole characters, in UTF-8")),
        _ => Err(wrong(at, "a string")),
    }
}

fn at_most<'a>(at: Place, text: Cow<'a, str>, max: usize) -> Result<Cow<'a, str>, BadField> {
    match text.len() {
        n if n > max => Err(bad(format!("\"{at}\" may have at most {max} bytes"))),
        _ => Ok(text),
    }
}

impl FromValue<'_> for bool {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        match value {
            Value::Bool(flag) => Ok(flag),
            _ => Err(wrong(at, "true or false")),
        }
    }
}

impl FromValue<'_> for u64 {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        match value {
            Value::Uint(number) => Ok(number),
            _ => Err(wrong(at, "a whole number from 0")),
        }
    }
}

impl<'a> FromValue<'a> for Cow<'a, str> {
    fn from_value(at: Place, value: Value<'a>) -> Result<Self, BadField> {
        text(at, value)
    }
}

impl FromValue<'_> for RequestId {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        let id = match value {
            Value::Uint(id) => Self::new(id),
            _ => None,
        };
        id.ok_or_else(|| wrong(at, "a whole number from 1 to 2^53-1"))
    }
}

impl FromValue<'_> for Offset {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        u64::from_value(at, value).map(Self::new)
    }
}

impl FromValue<'_> for Epoch {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        text(at, value)?.parse().map_err(|e| bad(format!("\"{at}\": {e}")))
    }
}

impl FromValue<'_> for Position {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        let Value::Map(entries) = value else {
            return Err(wrong(at, format_args!("a map of \"{}\" and \"{}\"", Key::Epoch, Key::Offset)));
        };
        let (mut epoch, mut offset) = (None, None);
        for (key, value) in entries {
            match key {
                Value::Str(key) if key == Key::Epoch.name() => epoch = Some(value),
                Value::Str(key) if key == Key::Offset.name() => offset = Some(value),
                _ => {}
            }
        }
        let within = |key| Place { within: Some(at.key), key };
        let offset = required(within(Key::Offset), offset)?;
        Ok(Self { epoch: required(within(Key::Epoch), epoch)?, offset })
    }
}

impl<'a> FromValue<'a> for TopicRef<'a> {
    fn from_value(at: Place, value: Value<'a>) -> Result<Self, BadField> {
        Self::new(text(at, value)?)
            .map_err(|e| BadField { code: ErrorCode::InvalidTopic, message: e.to_string() })
    }
}

impl<'a> FromValue<'a> for Token<'a> {
    fn from_value(at: Place, value: Value<'a>) -> Result<Self, BadField> {
        at_most(at, text(at, value)?, TOKEN_BYTES_MAX).map(Self::new)
    }
}

/// An error code that this version does not know counts as `internal`: it stays an error.
impl FromValue<'_> for ErrorCode {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        Ok(text(at, value)?.parse().unwrap_or(Self::Internal))
    }
}

impl FromValue<'_> for PayloadKind {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        Self::parse(&text(at, value)?).ok_or_else(|| wrong(at, "\"json\", \"text\" or \"binary\""))
    }
}

impl FromValue<'_> for OnLag {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        Self::parse(&text(at, value)?).ok_or_else(|| wrong(at, "\"gap\", \"latest\" or \"disconnect\""))
    }
}

impl FromValue<'_> for Headers {
    fn from_value(at: Place, value: Value<'_>) -> Result<Self, BadField> {
        let Value::Map(entries) = value else {
            return Err(wrong_headers(at));
        };
        let texts = entries.into_iter().map(|entry| match entry {
            (Value::Str(name), Value::Str(value)) => Ok((name, value)),
            _ => Err(wrong_headers(at)),
        });
        Self::new(texts.collect::<Result<Vec<_>, _>>()?).map_err(bad)
    }
}

fn wrong_headers(at: Place) -> BadField {
    wrong(
        at,
        format_args!("a map of strings, at most {HEADERS_COUNT_MAX}, and {HEADERS_BYTES_MAX} bytes together"),
    )
}

/// A map that names no user says nothing of the author.
impl<'a> FromValue<'a> for Option<Author<'a>> {
    fn from_value(at: Place, value: Value<'a>) -> Result<Self, BadField> {
        let Value::Map(entries) = value else {
            return Err(wrong(at, "a map"));
        };
        Ok(entries.into_iter().find_map(|entry| match entry {
            (Value::Str(key), Value::Str(user)) if key == Key::User.name() => Some(Author { user }),
            _ => None,
        }))
    }
}
