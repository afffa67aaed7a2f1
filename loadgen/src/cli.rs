//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::compare::{self, CompareArgs};
use crate::floor;
use crate::floor::FloorArgs;
use crate::machine::cores::{cores, processors};
use crate::machine::stdio::print;
use crate::report::Report;
use crate::report::assertion::Assertions;
use crate::run::server;
use crate::scenario::connect::ConnectArgs;
use crate::scenario::fanout::FanoutArgs;
use crate::scenario::idle::IdleArgs;
use crate::scenario::ingest::IngestArgs;
use crate::scenario::measure;
use crate::scenario::mesh::MeshArgs;
use crate::scenario::neighbour::NeighbourArgs;
use crate::scenario::resume::ResumeArgs;
use crate::scenario::rooms::RoomsArgs;
use crate::scenario::strangers::StrangersArgs;
use crate::scenario::stuck::StuckArgs;
use crate::target::Target;

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

/// A scenario.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Many connections that may do nothing do the worst they can: the server's memory, and how soon one is answered
    /// who may publish.
    Strangers(StrangersArgs),
    /// Measures several brokers in turns and writes one report about all of them.
    Compare(CompareArgs),
    /// Runs a broker until standard input ends: what a scenario starts where there is none.
    #[command(name = "__broker", hide = true)]
    Broker(server::BrokerArgs),
    /// Runs the floor until standard input ends: what `--target floor` starts.
    #[command(name = "__floor", hide = true)]
    Floor(FloorArgs),
}

/// The arguments that all scenarios share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// The broker [default: the one at ws://127.0.0.1:8000/ws, or if there is none a broker of its own].
    #[arg(long)]
    pub url: Option<String>,
    /// What kind of broker it is.
    #[arg(long, value_enum, default_value_t = Target::Fanfare)]
    pub target: Target,
    /// The secret of the app, to sign subscriptions of the Pusher protocol with.
    #[arg(long, env = "PUSHER_APP_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Report as JSON: on standard output, or to a file beside the text.
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
    /// Exit with 1 unless all of this holds, such as 'p99<50ms,lost=0'.
    #[arg(long, value_name = "CONDITIONS")]
    pub assert: Option<Assertions>,
    /// The broker's process, to report its processor time and memory with those of all processes that it
    /// has started; may be given several times.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// How many threads read [default: one per core].
    #[arg(long)]
    pub threads: Option<u32>,
    /// Run the servers on one half of the processors and the load generator on the other.
    #[arg(long)]
    pub pin: bool,
    /// From how many loopback addresses to connect: one has about 28,000 ports.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub source_addresses: u32,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl Command {
    /// # Panics
    /// If this is no scenario.
    pub(crate) fn common(&self) -> &CommonArgs {
        match self {
            Self::Fanout(args) => &args.common,
            Self::Connect(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Ingest(args) => &args.common,
            Self::Mesh(args) => &args.common,
            Self::Neighbour(args) => &args.common,
            Self::Resume(args) => &args.common,
            Self::Rooms(args) => &args.common,
            Self::Strangers(args) => &args.common,
            Self::Stuck(args) => &args.common,
            Self::Broker(_) | Self::Compare(_) | Self::Floor(_) => panic!("this is no scenario"),
        }
    }
}

impl CommonArgs {
    pub(crate) fn threads(&self) -> u32 {
        self.threads.unwrap_or_else(cores)
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
        Command::Compare(args) => runtime.block_on(compare::run(&args)),
        Command::Broker(args) => runtime.block_on(server::run_broker(&args)).map(|()| ExitCode::SUCCESS),
        Command::Floor(args) => runtime.block_on(floor::run(&args)).map(|()| ExitCode::SUCCESS),
        scenario => conclude(&runtime.block_on(measure(&scenario))?, scenario.common()),
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
