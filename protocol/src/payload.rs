//! Payloads: opaque bytes with a kind, passed on as they came.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;

/// What a payload's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PayloadKind {
    /// Any bytes.
    Binary,
    /// A JSON text.
    #[default]
    Json,
    /// Text, in UTF-8.
    Text,
}

impl PayloadKind {
    /// The kind as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    /// The kind as a frame says it: the default is left out.
    pub(crate) fn unless_default(self) -> Option<&'static str> {
        (self != Self::default()).then_some(self.as_str())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Binary, Self::Json, Self::Text].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A payload that owns its bytes.
///
/// A `json` payload is kept as the text it came as: nothing between publisher and subscriber parses it
/// into values and writes it anew, so number formats, key order and escapes survive. White space
/// around the JSON text is not part of it.
#[derive(Clone)]
pub enum Payload {
    /// Any bytes.
    Binary(Box<[u8]>),
    /// A JSON text, known to be well-formed.
    Json(Box<RawValue>),
    /// Text, in UTF-8.
    Text(Box<str>),
}

impl Payload {
    /// A `json` payload from its text.
    ///
    /// # Errors
    /// Says what is wrong with the JSON, or that it nests deeper than [`JSON_DEPTH_MAX`].
    pub fn json(text: &str) -> Result<Self, String> {
        PayloadRef::json(text).map(PayloadRef::into_owned)
    }

    /// A `text` payload.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A `binary` payload.
    pub fn binary(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::Binary(bytes.into())
    }

    /// What the bytes are.
    pub fn kind(&self) -> PayloadKind {
        self.as_ref().kind()
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Json(raw) => raw.get().as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// The payload, borrowed.
    pub fn as_ref(&self) -> PayloadRef<'_> {
        match self {
            Self::Binary(bytes) => PayloadRef::Binary(Cow::Borrowed(bytes)),
            Self::Json(raw) => PayloadRef::Json(Cow::Borrowed(raw)),
            Self::Text(text) => PayloadRef::Text(Cow::Borrowed(text)),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A payload that may still stand in the buffer it was read from.
#[derive(Clone)]
pub enum PayloadRef<'a> {
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
    /// A JSON text, known to be well-formed.
    Json(Cow<'a, RawValue>),
    /// Text, in UTF-8.
    Text(Cow<'a, str>),
}

impl<'a> PayloadRef<'a> {
    /// A `json` payload from its text; white space around it is dropped.
    ///
    /// # Errors
    /// Says what is wrong with the JSON, or that it nests deeper than [`JSON_DEPTH_MAX`].
    pub fn json(text: &'a str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        Self::json_raw(raw)
    }

    fn json_raw(raw: &'a RawValue) -> Result<Self, String> {
        check_depth(raw.get().as_bytes())?;
        Ok(Self::Json(Cow::Borrowed(raw)))
    }

    /// The payload that a JSON field `data` stands for, by the `kind` beside it.
    ///
    /// # Errors
    /// Says how the field does not fit the kind.
    pub fn from_json_field(kind: PayloadKind, raw: &'a RawValue) -> Result<Self, String> {
        match kind {
            PayloadKind::Json => Self::json_raw(raw),
            PayloadKind::Text => json_string(raw, kind).map(Self::Text),
            PayloadKind::Binary => {
                let text = json_string(raw, kind)?;
                let bytes = BASE64.decode(text.as_bytes()).map_err(|e| format!("not base64: {e}"))?;
                Ok(Self::Binary(bytes.into()))
            }
        }
    }

    /// What the bytes are.
    pub fn kind(&self) -> PayloadKind {
        match self {
            Self::Binary(_) => PayloadKind::Binary,
            Self::Json(_) => PayloadKind::Json,
            Self::Text(_) => PayloadKind::Text,
        }
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Json(raw) => raw.get().as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// The payload on its own, without the buffer.
    pub fn into_owned(self) -> Payload {
        match self {
            Self::Binary(bytes) => Payload::Binary(bytes.into_owned().into()),
            Self::Json(raw) => Payload::Json(raw.into_owned()),
            Self::Text(text) => Payload::Text(text.into()),
        }
    }

    /// This reference with bytes of its own: for what must outlive the buffer and is not a [`Payload`] yet.
    /// Bytes that it owns already are not copied, neither here nor when it becomes one.
    pub fn detach(self) -> PayloadRef<'static> {
        match self {
            Self::Binary(bytes) => PayloadRef::Binary(Cow::Owned(bytes.into_owned())),
            Self::Json(raw) => PayloadRef::Json(Cow::Owned(raw.into_owned())),
            Self::Text(text) => PayloadRef::Text(Cow::Owned(text.into_owned())),
        }
    }
}

fn json_string<'a>(raw: &'a RawValue, kind: PayloadKind) -> Result<Cow<'a, str>, String> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Text(text) = serde_json::from_str(raw.get())
        .map_err(|_| format!("a string is expected where kind is \"{}\"", kind.as_str()))?;
    Ok(text)
}

/// Refuses JSON that nests deeper than [`JSON_DEPTH_MAX`]; `text` is known to be well-formed.
fn check_depth(text: &[u8]) -> Result<(), String> {
    // Each level takes an opening and a closing character, so most payloads are too short to offend.
    if text.len() <= 2 * JSON_DEPTH_MAX {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return Err(format!("JSON nested deeper than {JSON_DEPTH_MAX} levels"));
                }
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

impl PartialEq for PayloadRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.as_bytes() == other.as_bytes()
    }
}

/// Shows kind and size alone: payloads do not belong in logs.
impl fmt::Debug for PayloadRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} payload of {} bytes>", self.kind().as_str(), self.as_bytes().len())
    }
}

/// The field `data`: raw JSON, a string or base64 in JSON; `str` or `bin` in MessagePack.
impl Serialize for PayloadRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, serializer.is_human_readable()) {
            (Self::Json(raw), true) => raw.serialize(serializer),
            (Self::Json(raw), false) => serializer.serialize_str(raw.get()),
            (Self::Text(text), _) => serializer.serialize_str(text),
            (Self::Binary(bytes), true) => serializer.serialize_str(&BASE64.encode(bytes)),
            (Self::Binary(bytes), false) => serializer.serialize_bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_payloads_keep_their_text() {
        let text = r#"{"b":1.0,"a":[1e2,"\u00e9"]}"#;
        assert_eq!(Payload::json(text).expect("well-formed").as_bytes(), text.as_bytes());
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        let text = format!(r#"["{}","\"{}"]"#, "[".repeat(1000), "{".repeat(1000));
        assert!(Payload::json(&text).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let spaced = format!("{}{}", nested(JSON_DEPTH_MAX), " ".repeat(300));
        assert!(Payload::json(&spaced).is_ok());
        for depth in [JSON_DEPTH_MAX + 1, 100_000] {
            assert_eq!(Payload::json(&nested(depth)).unwrap_err(), "JSON nested deeper than 128 levels");
        }
    }
}
