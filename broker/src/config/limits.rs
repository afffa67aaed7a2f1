//! Bounds of what a peer may do: the section `limits`, which all read who meet one.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::rate::config::RateConfig;
use crate::setting::InvalidSetting;

/// Bounds of what a peer may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest message, whole.
    pub message_size: ByteSize,
    /// Most fragments of one WebSocket message.
    pub message_fragments: usize,
    /// A message that has begun must be whole within this time.
    #[serde(with = "humantime_serde")]
    pub message_timeout: Duration,
    /// Subscriptions of one connection.
    pub subscriptions_per_connection: usize,
    /// Connections in all; 0 derives it from the file limit.
    pub connections: usize,
    /// The time from accepting a connection to the end of its request's headers.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// A WebSocket that may do nothing is to bring credentials within this time.
    #[serde(with = "humantime_serde")]
    pub auth_timeout: Duration,
    /// How often every connection gets a WebSocket ping.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// Bytes of an HTTP request's head.
    pub header_size: ByteSize,
    /// Headers of an HTTP request.
    pub header_count: usize,
    /// Kernel memory for what one connection has not read yet.
    pub send_buffer: ByteSize,
    /// Topics in all. 0 derives it from the memory that the process may take.
    pub topics: usize,
    /// Connections of one address at a time. 0: a quarter of all, of a public address.
    pub connections_per_ip: usize,
    /// WebSockets of one user at a time. 0: any number.
    pub connections_per_user: usize,
    /// Topics to which nobody has published, that one user's subscriptions made. 0: a quarter of `topics`.
    pub topics_per_user: usize,
    /// How often a peer may do what.
    pub rate: RateConfig,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            message_size: ByteSize::kib(64),
            message_fragments: fanfare_protocol::limits::FRAGMENTS_PER_MESSAGE_MAX,
            message_timeout: Duration::from_secs(10),
            subscriptions_per_connection: 1000,
            connections: 0,
            handshake_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            header_size: ByteSize::kib(16),
            header_count: 64,
            send_buffer: ByteSize::kib(128),
            topics: 0,
            connections_per_ip: 0,
            connections_per_user: 0,
            topics_per_user: 0,
            rate: RateConfig::default(),
        }
    }
}

/// What a topic takes, about, with its name and its places in the lists.
const TOPIC_BYTES: u64 = 768;
/// What is derived lies between these.
const TOPICS_MIN: u64 = 1000;
const TOPICS_MAX: u64 = 1_000_000;

impl LimitsConfig {
    /// These limits with what is 0 derived from the memory that the process may take, in bytes: as many
    /// topics as an eighth of it holds.
    #[must_use]
    pub fn resolved(&self, memory: Option<u64>) -> Self {
        let derived =
            memory.map_or(TOPICS_MAX, |bytes| (bytes / 8 / TOPIC_BYTES).clamp(TOPICS_MIN, TOPICS_MAX));
        let topics = if self.topics == 0 { derived as usize } else { self.topics };
        let topics_per_user = match self.topics_per_user {
            0 => topics.div_ceil(4),
            configured => configured,
        };
        Self { topics, topics_per_user, ..self.clone() }
    }

    /// # Errors
    /// Names what is out of range.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let wrong = |key: &str, message| Err(InvalidSetting::new(format!("limits.{key}"), message));
        if self.message_size.as_u64() == 0 || self.message_size > ByteSize::gib(1) {
            return wrong("message_size", "expected 1 byte to 1GiB");
        }
        if self.message_fragments == 0 {
            return wrong("message_fragments", "expected at least 1");
        }
        if self.header_size < ByteSize::kib(8) || self.header_size > ByteSize::mib(1) {
            return wrong("header_size", "expected 8KiB to 1MiB");
        }
        if self.header_count == 0 {
            return wrong("header_count", "expected at least 1");
        }
        if self.send_buffer < ByteSize::kib(8) || self.send_buffer > ByteSize::gib(1) {
            return wrong("send_buffer", "expected 8KiB to 1GiB");
        }
        for (key, duration) in [
            ("message_timeout", self.message_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("auth_timeout", self.auth_timeout),
            ("ping_interval", self.ping_interval),
        ] {
            if duration < Duration::from_millis(10) || duration > Duration::from_secs(86_400) {
                return wrong(key, "expected 10ms to 1day");
            }
        }
        Ok(())
    }
}
