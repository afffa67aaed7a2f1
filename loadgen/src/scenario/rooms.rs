//! The scenario `rooms`: many topics, each with a publisher and few subscribers.

use std::hash::{BuildHasher as _, RandomState};

use anyhow::Context as _;
use clap::Args;

use super::args::{CommonArgs, ScheduleArgs};
use super::find_max::{self, FindMaxArgs};
use crate::load::Load;
use crate::report::{MemberOrder, Report};
use crate::run::server::BrokerOptions;

/// The arguments of `rooms`.
#[derive(Debug, Clone, Args)]
pub struct RoomsArgs {
    /// How many rooms there are, each a topic with a publisher of its own.
    #[arg(long, default_value_t = 200)]
    pub rooms: u32,
    /// How many connections subscribe to each room.
    #[arg(long, default_value_t = 10, value_name = "SUBSCRIBERS")]
    pub per_room: u32,
    /// Publications a second in all; rooms take turns.
    #[arg(long, default_value_t = 10_000.0)]
    pub rate: f64,
    /// By which number the order is told in which members connect, to repeat a run [default: any; the report says it].
    #[arg(long, conflicts_with = "round_robin")]
    pub seed: Option<u32>,
    /// Let rooms take turns as members connect: the first of each, then the second of each. A server whose workers take
    /// turns as well may then have each room on one of them, which hides what rooms cost.
    #[arg(long)]
    pub round_robin: bool,
    /// How many workers the broker has, where one is started for the run [default: one per core].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
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

impl RoomsArgs {
    pub(crate) fn load(&self) -> anyhow::Result<Load> {
        let subscribers = self.rooms.checked_mul(self.per_room);
        Ok(Load {
            subscribers: subscribers.context("--rooms times --per-room is more than can be counted")?,
            topics: self.rooms,
            publishers: self.rooms,
            member_order: Some(self.member_order()),
            rate: Some(self.rate),
            ..self.common.load("rooms", &self.schedule)
        })
    }

    /// At random where nothing is said: who connects in step with a server's workers does not see what rooms cost.
    fn member_order(&self) -> MemberOrder {
        match self.seed {
            _ if self.round_robin => MemberOrder::RoundRobin,
            Some(seed) => MemberOrder::Random { seed },
            None => MemberOrder::Random { seed: RandomState::new().hash_one(std::process::id()) as u32 },
        }
    }
}

/// Publishes in every room, once or at the highest rate.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &RoomsArgs) -> anyhow::Result<Report> {
    let options = BrokerOptions { workers: args.workers.into(), ..BrokerOptions::default() };
    find_max::run(&args.load()?, &args.common, &args.find_max, options).await
}
