//! The field `data` as it came.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::payload::{PayloadKind, PayloadRef};

/// The field `data` before its `kind` is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawData<'a> {
    Bin(&'a [u8]),
    Json(&'a RawValue),
    Other,
    Str(&'a str),
}

impl<'a> RawData<'a> {
    pub(crate) fn into_payload(self, kind: PayloadKind) -> Result<PayloadRef<'a>, String> {
        match (self, kind) {
            (Self::Json(raw), kind) => PayloadRef::from_json_field(kind, raw),
            (Self::Str(text), PayloadKind::Json) => PayloadRef::json(text),
            (Self::Str(text), PayloadKind::Text) => Ok(PayloadRef::Text(text.into())),
            (Self::Bin(bytes), PayloadKind::Binary) => Ok(PayloadRef::Binary(bytes.into())),
            (_, PayloadKind::Binary) => Err("a bin is expected where kind is \"binary\"".into()),
            (_, kind) => Err(format!("a str is expected where kind is \"{}\"", kind.as_str())),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawData<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MessagePack;

        impl<'de> Visitor<'de> for MessagePack {
            type Value = RawData<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a payload")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<RawData<'de>, E> {
                Ok(RawData::Str(text))
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<RawData<'de>, E> {
                Ok(RawData::Bin(bytes))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawData<'de>, E> {
                Ok(RawData::Other)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawData<'de>, E> {
                Ok(RawData::Other)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawData<'de>, E> {
                Ok(RawData::Other)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawData<'de>, E> {
                Ok(RawData::Other)
            }

            fn visit_unit<E: de::Error>(self) -> Result<RawData<'de>, E> {
                Ok(RawData::Other)
            }

            /// A MessagePack extension: read to its end, or its bytes would be taken for what follows.
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                extension: D,
            ) -> Result<RawData<'de>, D::Error> {
                de::IgnoredAny::deserialize(extension).map(|_| RawData::Other)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<RawData<'de>, A::Error> {
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(RawData::Other)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RawData<'de>, A::Error> {
                while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(RawData::Other)
            }
        }

        if deserializer.is_human_readable() {
            <&RawValue>::deserialize(deserializer).map(RawData::Json)
        } else {
            deserializer.deserialize_any(MessagePack)
        }
    }
}
