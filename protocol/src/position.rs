//! Where a publication stands: an offset within an epoch.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::limits::EPOCH_BYTES_MAX;
use crate::parsed::Parsed;

/// A place in a topic's history: 1 for the first publication of an epoch, 0 for "before any".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The offset before the first publication.
    pub const ZERO: Self = Self(0);

    /// The offset with this number.
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// The offset as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset after this one; the largest is its own next, which no topic lives to see.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which life of a topic's history an offset belongs to: 1 to 16 visible ASCII characters.
///
/// Offsets of different epochs cannot be compared: when a topic was forgotten (it idled too long, or
/// the broker restarted) it comes back with another epoch, and a client that asks to continue from
/// the old one learns that it missed something it cannot count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch {
    bytes: [u8; EPOCH_BYTES_MAX],
    len: u8,
}

/// The text is no epoch: an epoch is 1 to 16 visible ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 1 to {EPOCH_BYTES_MAX} visible ASCII characters")]
pub struct InvalidEpoch;

impl Epoch {
    /// An epoch made from a number, as lower-case hexadecimal.
    pub fn from_number(number: u64) -> Self {
        format!("{number:x}").parse().expect("64 bits are at most 16 hexadecimal digits")
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)])
            .expect("checked to be ASCII when it was made")
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        if text.is_empty() || text.len() > EPOCH_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidEpoch);
        }
        let mut bytes = [0; EPOCH_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, len: text.len() as u8 })
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an epoch"))
    }
}

/// An epoch and an offset within it; written `EPOCH:OFFSET` on the command line.
///
/// ```
/// use fanfare_protocol::Position;
///
/// let position: Position = "9f2c:21".parse()?;
/// assert_eq!(position.offset.get(), 21);
/// assert_eq!(position.to_string(), "9f2c:21");
/// // To be kept by whatever serde writes to.
/// assert_eq!(serde_json::to_string(&position)?, r#"{"epoch":"9f2c","offset":21}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Which life of the topic's history.
    pub epoch: Epoch,
    /// The place within it.
    pub offset: Offset,
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is an epoch and an offset, as in 9f2c:21")]
pub struct InvalidPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(InvalidPosition)?;
        let offset = offset.parse().map_err(|_| InvalidPosition)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|InvalidEpoch| InvalidPosition)?,
            offset: Offset::new(offset),
        })
    }
}
