//! Fanfare: a pub/sub message broker with a WebSocket front end.
//!
//! Browsers subscribe to topics over a WebSocket, backends publish to them, and every subscriber of a
//! topic sees every publication in order, or is told exactly what it missed.
//!
//! This library is the broker without its command line: [`Broker::start`] runs one inside any tokio
//! program. To find the way, read `docs/architecture.md`; the path of a publication runs through
//! `connection/reading.rs`, `connection/native.rs`, `engine/memory.rs`, `topic.rs`, `worker/round.rs` and
//! `connection/delivery.rs`.

mod acceptor;
pub mod access;
#[doc(hidden)]
pub mod bench;
mod broker;
pub mod budget;
pub mod clock;
pub mod config;
mod connection;
pub mod engine;
mod http;
pub mod hub;
pub mod machine;
pub mod metrics;
pub mod namespaces;
pub mod supervise;
mod sync;
pub mod topic;
pub mod websocket;
mod worker;

pub use broker::{Broker, StartError};
pub use config::{Config, ConfigError};
