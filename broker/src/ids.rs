//! Names of things in this process.

use std::fmt;
use std::num::NonZeroU64;

/// A connection's name, unique in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
