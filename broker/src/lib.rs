//! Fanfare: a pub/sub message broker with a WebSocket front end.
//!
//! Browsers subscribe to topics over a WebSocket, backends publish to them, and every subscriber of a
//! topic sees every publication in order, or is told exactly what it missed.
//!
//! This library is the broker without its command line: [`Broker::start`] runs one inside any tokio
//! program. To find the way, read `docs/architecture.md`; the path of a publication runs through
//! `connection/reading.rs`, `connection/asking.rs`, `operation/publish.rs`, `engine/memory.rs`, `topic/append.rs`,
//! `topic.rs`, `worker/round.rs`, `worker/group.rs` and `connection/delivery.rs`.

mod acceptor;
pub mod access;
mod address;
pub mod answer;
#[doc(hidden)]
pub mod bench;
mod broker;
pub mod budget;
mod capacity;
pub mod clock;
pub mod config;
mod connection;
mod control;
mod dialect;
mod directory;
pub mod encoding;
pub mod engine;
mod fetch;
pub mod figures;
mod heartbeat;
mod http;
pub mod hub;
pub mod ids;
pub mod inbox;
mod keys;
pub mod machine;
pub mod metrics;
pub mod namespaces;
mod operation;
mod origin;
mod pattern;
mod permit;
mod rate;
mod relief;
mod reload;
pub mod right;
mod route;
mod setting;
mod sketch;
mod source;
mod stream;
pub mod supervise;
mod sync;
mod tally;
mod tls;
pub mod topic;
pub mod websocket;
mod worker;
mod workers;

pub use broker::{Broker, StartError};
pub use config::{Changes, Config, ConfigError};
pub use reload::{ConfigSource, ReloadError};
