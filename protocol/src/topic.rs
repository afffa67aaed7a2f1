//! Topic names: checked once at the edge, trusted inside.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::limits::TOPIC_NAME_BYTES_MAX;
use crate::parsed::Parsed;

/// The namespace of a topic that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Why a text is no topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// The name holds a control character.
    #[error("a topic name may not hold control characters")]
    ControlCharacter,
    /// The name is empty.
    #[error("a topic name may not be empty")]
    Empty,
    /// The name holds `*` or `>`, which are kept for patterns.
    #[error("a topic name may not hold '{0}', which is kept for patterns")]
    Pattern(char),
    /// The name starts with `@`, which is kept for the system's own topics.
    #[error("a topic name may not start with '@', which is kept for the system")]
    Reserved,
    /// The name is longer than [`TOPIC_NAME_BYTES_MAX`]: it has so many bytes.
    #[error("a topic name may be at most {TOPIC_NAME_BYTES_MAX} bytes long, this one has {0}")]
    TooLong(usize),
    /// The name holds white space.
    #[error("a topic name may not hold white space")]
    WhiteSpace,
}

fn check(name: &str) -> Result<(), InvalidTopic> {
    if name.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return Err(InvalidTopic::TooLong(name.len()));
    }
    if name.starts_with('@') {
        return Err(InvalidTopic::Reserved);
    }
    for c in name.chars() {
        match c {
            '*' | '>' => return Err(InvalidTopic::Pattern(c)),
            c if c.is_whitespace() => return Err(InvalidTopic::WhiteSpace),
            c if c.is_control() => return Err(InvalidTopic::ControlCharacter),
            _ => {}
        }
    }
    Ok(())
}

fn namespace(name: &str) -> &str {
    name.split_once(':').map_or(DEFAULT_NAMESPACE, |(namespace, _)| namespace)
}

/// A checked topic name, cheap to clone.
///
/// 1 to 255 bytes of UTF-8 without control characters, white space, `*` or `>`, not starting with `@`.
///
/// ```
/// use fanfare_protocol::TopicName;
///
/// let topic: TopicName = "room:42".parse()?;
/// assert_eq!(topic.namespace(), "room");
/// assert_eq!("news".parse::<TopicName>()?.namespace(), "default");
/// assert!("two words".parse::<TopicName>().is_err());
/// # Ok::<(), fanfare_protocol::InvalidTopic>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `:`, or `default`.
    pub fn namespace(&self) -> &str {
        namespace(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopic;

    fn from_str(name: &str) -> Result<Self, InvalidTopic> {
        check(name)?;
        Ok(Self(name.into()))
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a topic name"))
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked topic name that may still stand in the buffer it was read from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicRef<'a>(Cow<'a, str>);

impl<'a> TopicRef<'a> {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`InvalidTopic`] says which rule it broke.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Result<Self, InvalidTopic> {
        let name = name.into();
        check(&name)?;
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `:`, or `default`.
    pub fn namespace(&self) -> &str {
        namespace(&self.0)
    }

    /// The same name, borrowed from this reference.
    pub fn borrowed(&self) -> TopicRef<'_> {
        TopicRef(Cow::Borrowed(&self.0))
    }

    /// This reference with a text of its own, for what must outlive the buffer.
    pub fn detach(self) -> TopicRef<'static> {
        TopicRef(Cow::Owned(self.0.into_owned()))
    }

    /// The name on its own, without the buffer.
    pub fn to_name(&self) -> TopicName {
        TopicName(self.as_str().into())
    }
}

impl<'a> From<&'a TopicName> for TopicRef<'a> {
    fn from(name: &'a TopicName) -> Self {
        Self(Cow::Borrowed(&name.0))
    }
}

impl From<TopicName> for TopicRef<'static> {
    fn from(name: TopicName) -> Self {
        Self(Cow::Owned(name.as_str().to_owned()))
    }
}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_name_says_which_rule_it_broke() {
        let long = "x".repeat(256);
        for (name, why) in [
            ("", InvalidTopic::Empty),
            ("@system", InvalidTopic::Reserved),
            ("a*", InvalidTopic::Pattern('*')),
            (">", InvalidTopic::Pattern('>')),
            ("a b", InvalidTopic::WhiteSpace),
            ("a\u{a0}b", InvalidTopic::WhiteSpace),
            ("a\tb", InvalidTopic::WhiteSpace),
            ("a\0b", InvalidTopic::ControlCharacter),
            ("a\u{85}b", InvalidTopic::WhiteSpace),
            ("a\u{7f}", InvalidTopic::ControlCharacter),
            (long.as_str(), InvalidTopic::TooLong(256)),
        ] {
            assert_eq!(name.parse::<TopicName>(), Err(why), "{name:?}");
        }
    }

    #[test]
    fn names_of_any_script_up_to_255_bytes_are_good() {
        let long = "x".repeat(255);
        for name in ["a", "room:42", "a/b/c", "sala:café", "部屋", ":", "a@b", long.as_str()] {
            assert_eq!(name.parse::<TopicName>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn the_namespace_ends_at_the_first_colon() {
        for (name, namespace) in [("a", "default"), ("a:b:c", "a"), (":a", ""), ("room:", "room")] {
            assert_eq!(name.parse::<TopicName>().expect(name).namespace(), namespace);
        }
    }
}
