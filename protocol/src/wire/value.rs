//! One value of a frame, as it came: read first, held against what its key asks for later.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::limits::HEADERS_COUNT_MAX;

/// Most entries that are kept of a map: no key asks for one with more.
const MAP_ENTRIES_MAX: usize = HEADERS_COUNT_MAX;

/// One value, as far as any key of the protocol cares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// A string that is no text: half a surrogate pair in JSON, bytes that are not UTF-8 in MessagePack.
    BadStr,
    Bool(bool),
    /// At most [`MAP_ENTRIES_MAX`] entries, of which neither key nor value is a map.
    Map(Vec<(Self, Self)>),
    Null,
    /// Something that no key asks for.
    Other,
    Str(Cow<'a, str>),
    /// A whole number from 0, also where it was written as a float that is one.
    Uint(u64),
}

/// The care with which JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Values as they come: quick, and nearly always right. A string that holds half a surrogate pair, or a number out of all
    /// bounds, is a fault of the whole message, though it is one of this value alone.
    Quick,
    /// Values by way of the text of each, so that such a fault is the value's.
    Full,
}

/// Reads a value. What is in a map may be no map itself: no key asks for that, and so reading a value takes
/// no recursion, however deep it nests.
#[derive(Clone, Copy)]
pub(crate) struct AnyValue {
    care: Care,
    within_map: bool,
}

impl AnyValue {
    pub(crate) const fn field(care: Care) -> Self {
        Self { care, within_map: false }
    }

    /// A key, or a value in a map.
    pub(crate) const fn within_map(care: Care) -> Self {
        Self { care, within_map: true }
    }

    /// The value of a JSON text that is known to be well-formed, without white space around it.
    fn read_json(self, text: &str) -> Value<'_> {
        match text.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                Value::Str(Cow::Borrowed(&text[1..text.len() - 1]))
            }
            [b'"', ..] => {
                serde_json::from_str(text).map_or(Value::BadStr, |text| Value::Str(Cow::Owned(text)))
            }
            [b'{', ..] if !self.within_map => {
                serde_json::Deserializer::from_str(text).deserialize_map(self).unwrap_or(Value::Other)
            }
            [b'{' | b'[', ..] => Value::Other,
            b"true" => Value::Bool(true),
            b"false" => Value::Bool(false),
            b"null" => Value::Null,
            _ => match text.parse() {
                Ok(number) => Value::Uint(number),
                Err(_) => text.parse().map_or(Value::Other, whole),
            },
        }
    }
}

/// The whole number from 0 up to 2^53 that a float is. Beyond, a float stands for several.
fn whole(number: f64) -> Value<'static> {
    const MAX: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    match number {
        0.0..=MAX if number.fract() == 0.0 => Value::Uint(number as u64),
        _ => Value::Other,
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        if self.care == Care::Full {
            <&RawValue>::deserialize(deserializer).map(|raw| self.read_json(raw.get()))
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Uint(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(value).map_or(Value::Other, Value::Uint))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(whole(number))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Owned(text.to_owned())))
    }

    /// Text that is not UTF-8; a bin comes here too, and is no text either.
    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Value<'de>, E> {
        Ok(Value::BadStr)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        DeserializeSeed::deserialize(self, deserializer)
    }

    /// A MessagePack extension: read to its end, or its bytes would be taken for what follows.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Value<'de>, D::Error> {
        IgnoredAny::deserialize(extension).map(|_| Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        if self.within_map {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Other);
        }
        let within = Self::within_map(self.care);
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(within)? {
            if entries.len() == MAP_ENTRIES_MAX {
                map.next_value::<IgnoredAny>()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Value::Other);
            }
            entries.push((key, map.next_value_seed(within)?));
        }
        Ok(Value::Map(entries))
    }
}
