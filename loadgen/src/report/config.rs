//! What was asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The target, by what was spoken.
    pub target: String,
    /// The address of the server, and whose process that is.
    pub url: String,
    /// Which broker that is, in words.
    pub server: String,
    /// Connections that subscribe.
    pub subscribers: u32,
    /// Whether these are clients of the crate `fanfare-client`, at the load generator's cost.
    #[serde(default)]
    pub by_client: bool,
    /// Topics.
    pub topics: u32,
    /// Topics that each of the subscribers subscribes to.
    pub topics_each: u32,
    /// Connections that publish; where the topic is in the path, each needs one more for each further topic.
    pub publishers: u32,
    /// Size of a payload.
    pub size_bytes: usize,
    /// How long was measured.
    pub duration_seconds: f64,
    /// How long was published before.
    pub warmup_seconds: f64,
    /// In which order members of rooms connect, where it was asked for. Not known of older reports, where they took turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_order: Option<MemberOrder>,
    /// Threads that read.
    pub threads: u32,
    /// Which publications the target confirms, in words. Not known of older reports.
    #[serde(default)]
    pub confirmed: String,
    /// Which processors are the broker's and which the load generator's, where they were shared out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}

/// In which order the members of rooms connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberOrder {
    /// At random, and the same with the same seed.
    Random {
        /// The number by which the order is told.
        seed: u32,
    },
    /// In turns: the first of each room, then the second of each.
    RoundRobin,
}

impl fmt::Display for MemberOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { seed } => write!(f, "members in random order, seed {seed}"),
            Self::RoundRobin => f.write_str("rooms take turns as members connect"),
        }
    }
}
