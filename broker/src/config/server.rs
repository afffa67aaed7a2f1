//! Addresses, threads, start and stop: the section `server`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::origin::AllowedOrigin;

/// Addresses, threads, start and stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The public listener; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The admin listener; port 0 picks a free one.
    pub admin_listen: SocketAddr,
    /// Threads that own connections; 0 means one per core.
    pub workers: usize,
    /// Over how long connections are closed at a stop.
    #[serde(with = "humantime_serde")]
    pub drain_window: Duration,
    /// Origins of web pages that may connect, beside the broker's own host and loopback.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Start on a public address although no access is configured.
    pub insecure_open: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
            workers: 0,
            drain_window: Duration::from_secs(5),
            allowed_origins: Vec::new(),
            insecure_open: false,
        }
    }
}
