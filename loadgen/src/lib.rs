//! A load generator for pub/sub brokers that engineers can trust.
//!
//! Publications are due at fixed times, whatever the broker does, and every payload says who published
//! it, which one it is and when it was due. Every subscriber holds what it gets against that: latency is
//! counted from the due time, and nothing can be lost, doubled or swapped unseen.
//!
//! A scenario asks for a `Load`. Resolved, that is a `Plan`: a `Target` (what is said to the broker), a
//! `Schedule` (what is published when) and numbers. The threads of the subscribers and the one of the
//! publishers follow it through its `Phase`s; what they have seen becomes a [`Report`].
//!
//! Each wing knows those below it alone: `cli`; `scenario`, and beside it `compare` and `floor`; `run`;
//! `load`; `target`; `wire`; `report`; `machine`.

mod cli;
mod compare;
mod floor;
mod load;
mod machine;
mod report;
mod run;
mod scenario;
mod target;
mod wire;

pub use cli::{Cli, Command, main, measure};
pub use compare::CompareArgs;
pub use floor::FloorArgs;
pub use report::assertion::Assertions;
pub use report::{
    Attack, Config, Connects, FindMax, Idle, Ingest, MemoryOverTime, Neighbour, OwnUsage, Published,
    Quantiles, Report, Resume, ServerUsage, Step, Strangers, Stuck, Trouble,
};
pub use run::broker::BrokerArgs;
pub use scenario::args::{CommonArgs, ScheduleArgs};
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
pub use target::Target;
