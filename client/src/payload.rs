//! What is published: bytes of a kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_protocol::{PayloadKind, PayloadRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::Error;

/// A payload: opaque bytes of a [kind](PayloadKind). Clones share them.
///
/// A `json` payload is the text it came as: nothing between publisher and subscriber parses it into values and writes
/// it anew, so number formats, key order and escapes survive. White space around it is not part of it.
#[derive(Clone)]
pub struct Payload(Inner);

#[derive(Clone)]
enum Inner {
    Binary(Bytes),
    /// A JSON text, known to be well-formed, as it was received.
    Json(Arc<str>),
    /// A JSON text that was made to be published: it need not be looked at once more for that.
    RawJson(Arc<RawValue>),
    Text(Arc<str>),
}

impl Payload {
    /// A `json` payload from its text.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong with the JSON, or that it nests deeper than 128 levels.
    pub fn json(text: &str) -> Result<Self, Error> {
        match PayloadRef::json(text).map_err(Error::invalid_text)? {
            PayloadRef::Json(raw) => Ok(Self(Inner::RawJson(raw.into_owned().into()))),
            other => Ok(Self::received(other)),
        }
    }

    /// A `json` payload of a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the value cannot be written as JSON.
    pub fn json_of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let raw = serde_json::value::to_raw_value(value).map_err(|e| Error::invalid("the value", e))?;
        Ok(Self(Inner::RawJson(raw.into())))
    }

    /// A `text` payload.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self(Inner::Text(text.into()))
    }

    /// A `binary` payload.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Binary(bytes.into()))
    }

    /// What the bytes are.
    pub fn kind(&self) -> PayloadKind {
        match &self.0 {
            Inner::Binary(_) => PayloadKind::Binary,
            Inner::Json(_) | Inner::RawJson(_) => PayloadKind::Json,
            Inner::Text(_) => PayloadKind::Text,
        }
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Binary(bytes) => bytes,
            Inner::Json(text) | Inner::Text(text) => text.as_bytes(),
            Inner::RawJson(raw) => raw.get().as_bytes(),
        }
    }

    /// The bytes as text, unless they are `binary`.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Inner::Binary(_) => None,
            Inner::Json(text) | Inner::Text(text) => Some(text),
            Inner::RawJson(raw) => Some(raw.get()),
        }
    }

    /// The value of a `json` payload.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the payload is not `json`, or does not fit `T`.
    pub fn to_value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match (self.kind(), self.as_str()) {
            (PayloadKind::Json, Some(text)) => {
                serde_json::from_str(text).map_err(|e| Error::invalid("the payload", e))
            }
            (kind, _) => {
                Err(Error::invalid_text(format!("a json payload is expected, this is {}", kind.as_str())))
            }
        }
    }

    /// A copy of a payload, without the message that it stands in.
    pub(crate) fn received(payload: PayloadRef<'_>) -> Self {
        Self(match payload {
            PayloadRef::Binary(bytes) => Inner::Binary(bytes.into_owned().into()),
            PayloadRef::Json(raw) => Inner::Json(raw.get().into()),
            PayloadRef::Text(text) => Inner::Text((&*text).into()),
        })
    }

    /// The payload as a frame holds it.
    pub(crate) fn borrowed(&self) -> PayloadRef<'_> {
        match &self.0 {
            Inner::Binary(bytes) => PayloadRef::Binary(Cow::Borrowed(bytes)),
            Inner::Json(text) => PayloadRef::json(text).expect("it was received as JSON"),
            Inner::RawJson(raw) => PayloadRef::Json(Cow::Borrowed(raw)),
            Inner::Text(text) => PayloadRef::Text(Cow::Borrowed(text)),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Payload {}

/// Shows kind and size alone: payloads do not belong in logs.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} payload of {} bytes>", self.kind().as_str(), self.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_as_what_it_is_and_its_clones_share_it() {
        let json = Payload::json(" {\"a\":1.0} ").expect("JSON");
        assert_eq!((json.kind(), json.as_str()), (PayloadKind::Json, Some("{\"a\":1.0}")));
        assert_eq!(json, Payload::received(json.borrowed()));
        assert_eq!(Payload::json_of(&[1, 2]).expect("JSON").to_value::<Vec<u8>>().expect("fits"), [1, 2]);
        let text = Payload::text("hello");
        assert_eq!((text.kind(), text.as_str()), (PayloadKind::Text, Some("hello")));
        text.to_value::<String>().expect_err("it is not JSON");
        let binary = Payload::binary(vec![0xff]);
        assert_eq!(
            (binary.kind(), binary.as_str(), binary.as_bytes()),
            (PayloadKind::Binary, None, &[0xff][..])
        );
        for payload in [Payload::received(json.borrowed()), json, text, binary] {
            assert_eq!(payload.as_bytes().as_ptr(), payload.clone().as_bytes().as_ptr());
        }
        assert!(Payload::json("{").expect_err("no JSON").to_string().contains("not JSON"));
    }
}
