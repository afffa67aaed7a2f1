//! The scenario `fanout`: every publication goes to all subscribers of its topic.

use clap::{Args, ValueEnum};

use super::args::{CommonArgs, ScheduleArgs};
use super::find_max::{self, FindMaxArgs};
use crate::load::Load;
use crate::report::Report;
use crate::run::server::BrokerOptions;

/// The arguments of `fanout`.
#[derive(Debug, Clone, Args)]
pub struct FanoutArgs {
    /// How many connections subscribe, each to one topic; topics take turns.
    #[arg(long, default_value_t = 100)]
    pub subscribers: u32,
    /// By which way to subscribe.
    #[arg(long, value_enum, default_value_t = Reading::Websocket)]
    pub via: Reading,
    /// How many topics there are.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// How many connections publish; they take turns, and so do their topics.
    #[arg(long, default_value_t = 1)]
    pub publishers: u32,
    /// Publications a second in all.
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// What is published when.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// Whether to look for the highest rate.
    #[command(flatten)]
    pub find_max: FindMaxArgs,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// By which way to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reading {
    /// The crate `fanfare-client`, a client for each: its own cost is then the load generator's.
    Client,
    /// A WebSocket, in the dialect of the target, read in a way that costs next to nothing.
    Websocket,
}

impl FanoutArgs {
    pub(crate) fn load(&self) -> Load {
        Load {
            subscribers: self.subscribers,
            topics: self.topics,
            publishers: self.publishers,
            by_client: self.via == Reading::Client,
            rate: Some(self.rate),
            ..self.common.load("fanout", &self.schedule)
        }
    }
}

/// Publishes to all subscribers of each topic, once or at the highest rate.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &FanoutArgs) -> anyhow::Result<Report> {
    find_max::run(&args.load(), &args.common, &args.find_max, BrokerOptions::default()).await
}
