//! A map as it stands on the wire, and arrays of them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{BadField, Data};
use super::server::MessageWire;
use super::value::{AnyValue, Care, Value};
use crate::limits::FRAMES_PER_MESSAGE_MAX;

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
