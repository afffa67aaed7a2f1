//! Names of things in this process.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A connection's name, unique in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    pub(crate) fn new(id: u64) -> Self {
        Self(NonZeroU64::new(id).expect("ids count from 1"))
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The text is no connection's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connection's name is a number of 1 to 16 hexadecimal digits, in lower case and without zeros in front"
)]
pub struct NoConnectionId;

/// Reads exactly what is written: of a name there are no two spellings.
impl FromStr for ConnectionId {
    type Err = NoConnectionId;

    fn from_str(text: &str) -> Result<Self, NoConnectionId> {
        let number = u64::from_str_radix(text, 16).ok().and_then(NonZeroU64::new).ok_or(NoConnectionId)?;
        let id = Self(number);
        if id.to_string() == text { Ok(id) } else { Err(NoConnectionId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_itself_and_nothing_else_does() {
        for number in [1, 255, u64::MAX] {
            let id = ConnectionId::new(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "0", "01", "FF", "+1", "-1", "g", " 1", "11111111111111111"] {
            assert_eq!(bad.parse::<ConnectionId>(), Err(NoConnectionId), "{bad}");
        }
    }
}
