//! A load generator for pub/sub brokers that engineers can trust.
//!
//! Publications are due at fixed times, whatever the broker does, and every payload says who published
//! it, which one it is and when it was due. Every subscriber holds what it gets against that: latency is
//! counted from the due time, and nothing can be lost, doubled or swapped unseen.
//!
//! A scenario asks for a `Load`. Resolved, that is a `Plan`: a `Target` (what is said to the broker), a
//! `Schedule` (what is published when) and numbers. The threads of the subscribers and the one of the publishers follow it through its `Phase`s;
//! what they have seen becomes a [`Report`].

mod assertion;
mod cli;
mod clock;
mod closed_loop;
mod compare;
mod connection;
mod floor;
mod handshake;
mod ingest;
mod limits;
mod link;
mod outgoing;
mod payload;
mod pin;
mod plan;
mod process;
mod progress;
mod publisher;
mod report;
mod run;
mod scenario;
mod schedule;
mod search;
mod sequence;
mod server;
mod subscriber;
mod tally;
mod target;
mod thread;
mod unit;
mod watched;
mod websocket;

pub use assertion::Assertions;
pub use cli::{Cli, Command, CommonArgs, main};
pub use compare::CompareArgs;
pub use floor::FloorArgs;
pub use report::{
    Attack, Config, Connects, FindMax, Idle, Ingest, MemoryOverTime, Neighbour, OwnUsage, Published,
    Quantiles, Report, Resume, ServerUsage, Step, Strangers, Stuck, Trouble,
};
pub use scenario::connect::ConnectArgs;
pub use scenario::fanout::{FanoutArgs, Reading};
pub use scenario::find_max::FindMaxArgs;
pub use scenario::idle::IdleArgs;
pub use scenario::ingest::{IngestArgs, Via};
pub use scenario::mesh::MeshArgs;
pub use scenario::neighbour::NeighbourArgs;
pub use scenario::resume::ResumeArgs;
pub use scenario::rooms::RoomsArgs;
pub use scenario::strangers::StrangersArgs;
pub use scenario::stuck::StuckArgs;
pub use scenario::{ScheduleArgs, measure};
pub use server::BrokerArgs;
pub use target::Target;
