//! The scenarios: what each asks of a broker, and how it is measured.

pub(crate) mod connect;
pub(crate) mod fanout;
pub(crate) mod find_max;
pub(crate) mod idle;
pub(crate) mod ingest;
pub(crate) mod mesh;
pub(crate) mod neighbour;
pub(crate) mod resume;
pub(crate) mod rooms;
mod search;
pub(crate) mod steady;
pub(crate) mod strangers;
pub(crate) mod stuck;

use std::time::Duration;

use clap::Args;

use crate::cli::{Command, CommonArgs};
use crate::report::Report;
use crate::wire::payload::SIZE_MIN;

/// The arguments of all scenarios that publish by a schedule.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// Size of a payload in bytes, at least 35.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to publish before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// How long the last deliveries may take after that; what comes later is lost.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

impl ScheduleArgs {
    /// The schedule of a scenario that has no say in the size of payloads: they are as small as may be.
    fn of_smallest(duration: Duration, warmup: Duration, grace: Duration) -> Self {
        Self { size: SIZE_MIN, duration, warmup, grace }
    }
}

/// What a scenario asks for: subscribers on topics, and publications by a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Load<'a> {
    pub(crate) scenario: &'static str,
    /// How many connections subscribe.
    pub(crate) subscribers: u32,
    pub(crate) topics: u32,
    /// How many of the topics each of them subscribes to.
    pub(crate) topics_each: u32,
    /// How many connections publish; publishers and topics take turns.
    pub(crate) publishers: u32,
    /// How many of the subscribers read nothing until all is over.
    pub(crate) stuck: u32,
    /// When all subscribers are cut off: so long after the warm-up.
    pub(crate) cut_after: Option<Duration>,
    /// Whether the subscribers are clients of the client crate.
    pub(crate) by_client: bool,
    /// Publications a second in all; none where there is no schedule.
    pub(crate) rate: Option<f64>,
    pub(crate) schedule: ScheduleArgs,
    pub(crate) common: &'a CommonArgs,
}

/// Runs a scenario: finds or starts the broker, puts the load on it and reports.
///
/// # Errors
/// Why nothing could be measured. Losses and the like are no errors but part of the report.
///
/// # Panics
/// If `command` is no scenario.
pub async fn measure(command: &Command) -> anyhow::Result<Report> {
    match command {
        Command::Connect(args) => connect::run(args).await,
        Command::Fanout(args) => find_max::run(&args.load(), &args.find_max).await,
        Command::Idle(args) => idle::run(args).await,
        Command::Resume(args) => resume::run(args).await,
        Command::Ingest(args) => ingest::run(args).await,
        Command::Rooms(args) => find_max::run(&args.load()?, &args.find_max).await,
        Command::Mesh(args) => find_max::run(&args.load()?, &args.find_max).await,
        Command::Neighbour(args) => neighbour::run(args).await,
        Command::Strangers(args) => strangers::run(args).await,
        Command::Stuck(args) => stuck::run(args).await,
        Command::Broker(_) | Command::Compare(_) | Command::Floor(_) => panic!("this is no scenario"),
    }
}
