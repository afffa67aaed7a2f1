//! What was asked for.

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
    /// Threads that read.
    pub threads: u32,
    /// Which publications the target confirms, in words. Not known of older reports.
    #[serde(default)]
    pub confirmed: String,
    /// Which processors are the broker's and which the load generator's, where they were shared out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}
