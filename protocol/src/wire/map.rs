//! A map as it stands on the wire, and arrays of them: how they are read, and how they are written.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::fields::{BadField, Fields};
use super::key::{Key, Map};
use super::value::{AnyValue, Care, Value};
use crate::frame::{Message, RequestId};
use crate::limits::FRAMES_PER_MESSAGE_MAX;

/// What a map stands for, once all of its entries are there.
pub(crate) trait FromMap<'a> {
    /// Which keys are known in the map.
    const MAP: Map;

    /// What the map is read as.
    type Read;

    /// Reads it.
    ///
    /// # Errors
    /// A field is bad, and with it the whole WebSocket message. What is only refused is part of
    /// [`Read`](Self::Read).
    fn from_map(fields: &mut Fields<'a>) -> Result<Self::Read, BadField>;
}

/// Reads a map, and nothing that a codec might take for one. An entry whose key is no text is skipped, as an unknown
/// key is: MessagePack allows any value for a key, and a JSON text may be half a character.
struct OneMap<W>(Care, PhantomData<W>);

impl<'de, W: FromMap<'de>> Visitor<'de> for OneMap<W> {
    type Value = W::Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<W::Read, A::Error> {
        let mut fields = Fields::new();
        while let Some(key) = map.next_key_seed(AnyValue::within_map(self.0))? {
            let key = match &key {
                Value::Str(name) => Key::find(name, W::MAP),
                _ => None,
            };
            let first = match key {
                None => map.next_value::<IgnoredAny>().map(|_| true)?,
                Some(Key::Data) => fields.put_data(map.next_value()?),
                Some(Key::Messages) => fields.put_messages(map.next_value_seed(Messages(self.0))?),
                Some(key) => fields.put(key, map.next_value_seed(AnyValue::field(self.0))?),
            };
            if let (Some(key), false) = (key, first) {
                return Err(de::Error::custom(format_args!("\"{key}\" stands twice in one frame")));
            }
        }
        W::from_map(&mut fields).map_err(|bad| de::Error::custom(bad.message))
    }
}

impl<'de, W: FromMap<'de>> DeserializeSeed<'de> for OneMap<W> {
    type Value = W::Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<W::Read, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Reads the messages of a `history`, each for itself, as only a `history` asks whether they are good; null is none.
struct Messages(Care);

impl<'de> Visitor<'de> for Messages {
    type Value = Vec<Result<Message<'de>, BadField>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = seq.next_element_seed(OneMap::<Message<'de>>(self.0, PhantomData))? {
            messages.push(message);
        }
        Ok(messages)
    }
}

impl<'de> DeserializeSeed<'de> for Messages {
    type Value = Vec<Result<Message<'de>, BadField>>;

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

impl<'de, W: FromMap<'de>> Visitor<'de> for Maps<W> {
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

impl<'de, W: FromMap<'de>> DeserializeSeed<'de> for Maps<W> {
    type Value = Vec<W::Read>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What can be written as a map.
pub(crate) trait ToMap {
    /// Puts every entry into `out`, in the order in which they stand on the wire; the same ones each time.
    ///
    /// # Errors
    /// What `out` says of an entry that it does not take.
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error>;
}

/// Where the entries of a map are put.
pub(crate) trait Entries {
    /// Why an entry is not taken.
    type Error;

    /// Puts one; `None` is null.
    fn put(&mut self, key: Key, value: impl Serialize) -> Result<(), Self::Error>;

    /// Puts one if there is a value.
    #[inline]
    fn put_some(&mut self, key: Key, value: Option<impl Serialize>) -> Result<(), Self::Error> {
        value.map_or(Ok(()), |value| self.put(key, value))
    }

    /// Puts what every frame begins with.
    #[inline]
    fn head(&mut self, kind_of_frame: &'static str, id: Option<RequestId>) -> Result<&mut Self, Self::Error> {
        self.put(Key::Type, kind_of_frame)?;
        self.put_some(Key::Id, id.map(RequestId::get))?;
        Ok(self)
    }
}

impl<S: SerializeStruct> Entries for S {
    type Error = S::Error;

    #[inline]
    fn put(&mut self, key: Key, value: impl Serialize) -> Result<(), S::Error> {
        self.serialize_field(key.name(), &value)
    }
}

/// Counts entries: MessagePack says how many there are before the first.
struct Count(usize);

impl Entries for Count {
    type Error = Infallible;

    #[inline]
    fn put(&mut self, _: Key, _: impl Serialize) -> Result<(), Infallible> {
        self.0 += 1;
        Ok(())
    }
}

/// A map on its way out.
pub(crate) struct Written<F>(pub(crate) F);

impl<F: ToMap> ToMap for &F {
    fn to_map<E: Entries>(&self, out: &mut E) -> Result<(), E::Error> {
        (**self).to_map(out)
    }
}

impl<F: ToMap> Serialize for Written<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut count = Count(0);
        let Ok(()) = self.0.to_map(&mut count);
        let mut entries = serializer.serialize_struct("Frame", count.0)?;
        self.0.to_map(&mut entries)?;
        entries.end()
    }
}
