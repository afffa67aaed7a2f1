//! The scenario `mesh`: every connection subscribes to some of many topics, each to others.

use clap::Args;

use super::args::{CommonArgs, ScheduleArgs};
use super::find_max::{self, FindMaxArgs};
use crate::load::Load;
use crate::report::Report;
use crate::run::server::BrokerOptions;

/// The arguments of `mesh`.
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    /// How many connections subscribe.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: u32,
    /// How many topics there are.
    #[arg(long, default_value_t = 100)]
    pub topics: u32,
    /// To how many of them each connection subscribes.
    #[arg(long, default_value_t = 10, value_name = "TOPICS")]
    pub topics_each: u32,
    /// How many connections publish; they take turns, and so do their topics.
    #[arg(long, default_value_t = 10)]
    pub publishers: u32,
    /// Publications a second in all.
    #[arg(long, default_value_t = 1_000.0)]
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

impl MeshArgs {
    pub(crate) fn load(&self) -> anyhow::Result<Load> {
        if self.topics_each > 1 {
            self.common.target.ensure_many_topics("mesh")?;
        }
        Ok(Load {
            subscribers: self.subscribers,
            topics: self.topics,
            topics_each: self.topics_each,
            publishers: self.publishers,
            rate: Some(self.rate),
            ..self.common.load("mesh", &self.schedule)
        })
    }
}

/// Publishes to subscribers of several topics each, once or at the highest rate.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &MeshArgs) -> anyhow::Result<Report> {
    find_max::run(&args.load()?, &args.common, &args.find_max, BrokerOptions::default()).await
}
