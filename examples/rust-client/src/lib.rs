//! The code of `docs/rust-client.md`, a function for each task: what the guide shows stands here word for word.

pub mod connecting;
pub mod publishing;
pub mod running;
pub mod subscribing;

use serde::{Deserialize, Serialize};

/// What the examples publish and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Made by whoever orders, the same however often it is published.
    pub id: String,
    /// In cents.
    pub amount: u64,
}
