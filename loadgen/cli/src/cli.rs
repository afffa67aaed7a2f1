//! The command line: what there is to run, and what becomes of the report.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fanfare_loadgen_compare::CompareArgs;
use fanfare_loadgen_compare::floor::{self, FloorArgs};
use fanfare_loadgen_core::machine::cores::processors;
use fanfare_loadgen_core::machine::parent::{self, TiedArgs};
use fanfare_loadgen_core::machine::stdio::print;
use fanfare_loadgen_core::report::Report;
use fanfare_loadgen_core::run::broker::{self, BrokerArgs};
use fanfare_loadgen_core::scenario::args::CommonArgs;
use fanfare_loadgen_core::scenario::beside::{self, BesideArgs};
use fanfare_loadgen_core::scenario::connect::{self, ConnectArgs};
use fanfare_loadgen_core::scenario::fanout::{self, FanoutArgs};
use fanfare_loadgen_core::scenario::idle::{self, IdleArgs};
use fanfare_loadgen_core::scenario::ingest::{self, IngestArgs};
use fanfare_loadgen_core::scenario::mesh::{self, MeshArgs};
use fanfare_loadgen_core::scenario::neighbour::{self, NeighbourArgs};
use fanfare_loadgen_core::scenario::ping::{self, PingArgs};
use fanfare_loadgen_core::scenario::resume::{self, ResumeArgs};
use fanfare_loadgen_core::scenario::rooms::{self, RoomsArgs};
use fanfare_loadgen_core::scenario::strangers::{self, StrangersArgs};
use fanfare_loadgen_core::scenario::stuck::{self, StuckArgs};

/// Puts load on a pub/sub broker and checks every delivery.
///
/// Exit codes: 0 when all went well, 1 when an assertion was not met, the server ended or all subscribers were
/// disconnected, 2 when the arguments are wrong or
/// nothing could be measured.
#[derive(Debug, Parser)]
#[command(name = "fanfare-loadgen", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A scenario: load on one broker, and a report.
    #[command(flatten)]
    Scenario(Scenario),
    /// Measures several brokers in turns and writes one report about all of them.
    Compare(CompareArgs),
    /// Keeps a broker, the program `fanfare`, until standard input ends: what a scenario starts where there is none.
    #[command(name = "__broker", hide = true)]
    Broker(BrokerArgs),
    /// Becomes a program that ends with the process that has started this one: what a keeper starts its broker by, and
    /// a comparison its runs.
    #[command(name = parent::COMMAND, hide = true)]
    Tied(TiedArgs),
    /// Runs the floor until standard input ends: what `--target floor` starts.
    #[command(name = "__floor", hide = true)]
    Floor(FloorArgs),
}

/// A scenario.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Every publication goes to all subscribers of its topic.
    ///
    /// Publications are due at fixed times, whatever the broker does, and latency is counted from those
    /// times: a broker that falls behind cannot hide it.
    Fanout(FanoutArgs),
    /// Many topics, each with a publisher and few subscribers, such as chat rooms.
    Rooms(RoomsArgs),
    /// Connections that do nothing: how much of the server's memory each takes, also after publications
    /// have gone to all of them.
    Idle(IdleArgs),
    /// Connections that come, subscribe and leave, one after the other: how many a second.
    Connect(ConnectArgs),
    /// Every connection subscribes to some of many topics, each to others.
    Mesh(MeshArgs),
    /// Some of the subscribers read nothing until all is over: what that does to the others and to the
    /// server's memory, and what they find when they wake up.
    Stuck(StuckArgs),
    /// All subscribers are cut off at once while publishing goes on, come back and recover.
    Resume(ResumeArgs),
    /// Publishers that send as fast as the broker acknowledges: how many publications a second that are.
    Ingest(IngestArgs),
    /// Publishers without pause on one worker: how soon a quiet connection is answered there, who is closed, and how
    /// the publishers share.
    Neighbour(NeighbourArgs),
    /// Quiet connections that ping at fixed times, whatever becomes of it: how soon each ping is answered, counted from
    /// when it was due, so that a server that stalls cannot hide it.
    Ping(PingArgs),
    /// Many connections that may do nothing do the worst they can: the server's memory, and how soon one is answered
    /// who may publish.
    Strangers(StrangersArgs),
    /// A publisher and a subscriber who have nothing to do with an attack: their latency before it and beside it, and
    /// the server's memory.
    Beside(BesideArgs),
}

impl Scenario {
    pub(crate) fn common(&self) -> &CommonArgs {
        match self {
            Self::Beside(args) => &args.common,
            Self::Fanout(args) => &args.common,
            Self::Connect(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Ingest(args) => &args.common,
            Self::Mesh(args) => &args.common,
            Self::Neighbour(args) => &args.common,
            Self::Ping(args) => &args.common,
            Self::Resume(args) => &args.common,
            Self::Rooms(args) => &args.common,
            Self::Strangers(args) => &args.common,
            Self::Stuck(args) => &args.common,
        }
    }
}

/// Runs the program: what `main` does.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    processors();
    match run(command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Compare(args) => runtime.block_on(fanfare_loadgen_compare::run(&args)),
        Command::Broker(args) => broker::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tied(args) => Err(parent::become_tied(&args)),
        Command::Floor(args) => runtime.block_on(floor::run(&args)).map(|()| ExitCode::SUCCESS),
        Command::Scenario(scenario) => conclude(&runtime.block_on(measure(&scenario))?, scenario.common()),
    }
}

/// Runs a scenario: finds or starts the broker, puts the load on it and reports.
///
/// # Errors
/// Why nothing could be measured. Losses and the like are no errors but part of the report.
pub async fn measure(scenario: &Scenario) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Beside(args) => beside::run(args).await,
        Scenario::Connect(args) => connect::run(args).await,
        Scenario::Fanout(args) => fanout::run(args).await,
        Scenario::Idle(args) => idle::run(args).await,
        Scenario::Resume(args) => resume::run(args).await,
        Scenario::Ingest(args) => ingest::run(args).await,
        Scenario::Rooms(args) => rooms::run(args).await,
        Scenario::Mesh(args) => mesh::run(args).await,
        Scenario::Neighbour(args) => neighbour::run(args).await,
        Scenario::Ping(args) => ping::run(args).await,
        Scenario::Strangers(args) => strangers::run(args).await,
        Scenario::Stuck(args) => stuck::run(args).await,
    }
}

/// Prints the report and decides on the exit code.
fn conclude(report: &Report, args: &CommonArgs) -> anyhow::Result<ExitCode> {
    match &args.json {
        Some(None) => print(&report.to_json())?,
        Some(Some(file)) => {
            std::fs::write(file, report.to_json())
                .with_context(|| format!("cannot write {}", file.display()))?;
            print(&report.to_string())?;
        }
        None => print(&report.to_string())?,
    }
    let failures = args.assert.as_ref().map_or_else(Vec::new, |assertions| assertions.failures(report));
    for failure in &failures {
        eprintln!("assertion not met: {failure}");
    }
    let breakdown = report.breakdown();
    if let Some(breakdown) = &breakdown {
        eprintln!("{breakdown}");
    }
    Ok(if failures.is_empty() && breakdown.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
