//! A name with its hash: it is hashed once, when it comes in, and both the shard and the place in it follow from that.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use fanfare_protocol::TopicName;

/// A topic's name with its hash, as a key.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) hash: u64,
    pub(super) name: TopicName,
}

/// A name with its hash, borrowed or owned.
pub(super) trait Named {
    fn hash(&self) -> u64;
    fn name(&self) -> &str;
}

impl Named for Hashed {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for (u64, &str) {
    fn hash(&self) -> u64 {
        self.0
    }

    fn name(&self) -> &str {
        self.1
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Named::hash(self));
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        Named::hash(self) == Named::hash(other) && self.name() == other.name()
    }
}

impl Eq for dyn Named + '_ {}

impl<'a> Borrow<dyn Named + 'a> for Hashed {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.name == other.name
    }
}

impl Eq for Hashed {}

/// Passes on the hash that a key brings.
pub(super) type Passed = BuildHasherDefault<Pass>;

/// A hasher for what is a hash already.
#[derive(Debug, Default)]
pub(super) struct Pass(u64);

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a name with its hash writes that alone");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
