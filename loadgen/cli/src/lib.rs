//! A load generator for pub/sub brokers that engineers can trust.
//!
//! Publications are due at fixed times, whatever the broker does, and every payload says who published
//! it, which one it is and when it was due. Every subscriber holds what it gets against that: latency is
//! counted from the due time, and nothing can be lost, doubled or swapped unseen.
//!
//! Here is the program with its command line; what it runs is in the crates `fanfare-loadgen-core` and
//! `fanfare-loadgen-compare`.

mod cli;

pub use cli::{Cli, Command, Scenario, main, measure};
pub use fanfare_loadgen_compare::CompareArgs;
pub use fanfare_loadgen_compare::floor::FloorArgs;
pub use fanfare_loadgen_core::report::assertion::Assertions;
pub use fanfare_loadgen_core::report::{
    Attack, Beside, Config, Connects, Deliveries, FindMax, Findings, Idle, Ingest, MemberOrder,
    MemoryOverTime, Neighbour, OwnUsage, Pings, Published, Quantiles, Report, Resume, ServerUsage, Step,
    Strangers, Stuck, Trouble,
};
pub use fanfare_loadgen_core::run::broker::BrokerArgs;
pub use fanfare_loadgen_core::scenario::args::{CommonArgs, ScheduleArgs};
pub use fanfare_loadgen_core::scenario::beside::{Attack as BesideAttack, BesideArgs};
pub use fanfare_loadgen_core::scenario::connect::ConnectArgs;
pub use fanfare_loadgen_core::scenario::fanout::{FanoutArgs, Reading};
pub use fanfare_loadgen_core::scenario::find_max::FindMaxArgs;
pub use fanfare_loadgen_core::scenario::idle::IdleArgs;
pub use fanfare_loadgen_core::scenario::ingest::{IngestArgs, Via};
pub use fanfare_loadgen_core::scenario::mesh::MeshArgs;
pub use fanfare_loadgen_core::scenario::neighbour::NeighbourArgs;
pub use fanfare_loadgen_core::scenario::ping::{PingArgs, Via as PingVia};
pub use fanfare_loadgen_core::scenario::resume::ResumeArgs;
pub use fanfare_loadgen_core::scenario::rooms::RoomsArgs;
pub use fanfare_loadgen_core::scenario::strangers::StrangersArgs;
pub use fanfare_loadgen_core::scenario::stuck::StuckArgs;
pub use fanfare_loadgen_core::target::Target;
