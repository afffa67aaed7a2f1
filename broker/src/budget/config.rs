//! How much memory the process may take, and what for: the section `memory`.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::setting::InvalidSetting;

/// What is derived is at most so much.
const RETAINED_MAX: ByteSize = ByteSize::mib(512);
const IN_FLIGHT_MAX: ByteSize = ByteSize::mib(256);

/// Bounds of the process as a whole. 0 derives a value from the memory that the process may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// All publications kept, and the message ids that make retries safe, together.
    pub retained: ByteSize,
    /// What is on its way in or out, over all connections.
    pub in_flight: ByteSize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { retained: ByteSize(0), in_flight: ByteSize(0) }
    }
}

impl MemoryConfig {
    /// These bounds with what is 0 derived from the memory that the process may take, in bytes: a quarter of
    /// it to retain, since twice as much is retained before publications are refused, and an eighth for what
    /// is on its way. Each is a `message_size` at least.
    #[must_use]
    pub fn resolved(&self, memory: Option<u64>, message_size: ByteSize) -> Self {
        let share = |part: u64, most: ByteSize| memory.map_or(most, |bytes| most.min(ByteSize(bytes / part)));
        let or = |configured: ByteSize, derived| if configured.as_u64() == 0 { derived } else { configured };
        Self {
            retained: or(self.retained, share(4, RETAINED_MAX).max(message_size)),
            in_flight: or(self.in_flight, share(8, IN_FLIGHT_MAX).max(message_size)),
        }
    }

    /// # Errors
    /// Names what holds no message.
    pub(crate) fn check(&self, message_size: ByteSize) -> Result<(), InvalidSetting> {
        for (key, bytes) in [("memory.retained", self.retained), ("memory.in_flight", self.in_flight)] {
            if bytes.as_u64() > 0 && bytes < message_size {
                return Err(InvalidSetting::new(key, "expected at least limits.message_size, or 0B"));
            }
        }
        Ok(())
    }

    /// What to tell an operator who allows more than the process may take; `self` is
    /// [resolved](Self::resolved).
    pub fn warning(&self, memory: Option<u64>) -> Option<String> {
        let memory = ByteSize(memory?);
        let most = ByteSize(self.retained.as_u64().saturating_mul(2).saturating_add(self.in_flight.as_u64()));
        (most > memory).then(|| {
            format!(
                "memory.retained ({}, twice of which may be held) and memory.in_flight ({}) are more than the \
                 {memory} that this process may take: it may be killed before it refuses anything",
                self.retained, self.in_flight
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: ByteSize = ByteSize::kib(64);

    fn resolved(retained: ByteSize, in_flight: ByteSize, memory: Option<u64>) -> (ByteSize, ByteSize) {
        let resolved = MemoryConfig { retained, in_flight }.resolved(memory, MESSAGE);
        (resolved.retained, resolved.in_flight)
    }

    #[test]
    fn what_is_not_configured_is_a_share_of_what_there_is() {
        let none = ByteSize(0);
        for (memory, expected) in [
            (Some(256 << 20), (ByteSize::mib(64), ByteSize::mib(32))),
            (Some(64 << 30), (ByteSize::mib(512), ByteSize::mib(256))),
            (Some(64 << 10), (MESSAGE, MESSAGE)),
            (None, (ByteSize::mib(512), ByteSize::mib(256))),
        ] {
            assert_eq!(resolved(none, none, memory), expected, "{memory:?}");
        }
        let configured = resolved(ByteSize::gib(1), none, Some(256 << 20));
        assert_eq!(configured, (ByteSize::gib(1), ByteSize::mib(32)));
    }

    #[test]
    fn only_what_does_not_fit_is_warned_of() {
        let warning = |retained: u64, memory: Option<u64>| {
            let config = MemoryConfig { retained: ByteSize::mib(retained), in_flight: ByteSize::mib(32) };
            config.warning(memory.map(|mib| mib << 20))
        };
        assert_eq!(warning(64, Some(256)), None);
        assert_eq!(warning(10_000, None), None);
        let said = warning(512, Some(256)).expect("a warning");
        assert!(said.contains("memory.retained") && said.contains("256"), "{said}");
        for memory in [64 << 20, 256 << 20, 4 << 30] {
            let derived = MemoryConfig::default().resolved(Some(memory), MESSAGE);
            assert_eq!(derived.warning(Some(memory)), None);
        }
    }
}
