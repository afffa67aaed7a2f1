//! The scenario `rooms`: many topics, each with a publisher and few subscribers.

use anyhow::Context as _;
use clap::Args;

use super::args::{CommonArgs, ScheduleArgs};
use super::find_max::{self, FindMaxArgs};
use crate::load::Load;
use crate::report::Report;

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
            rate: Some(self.rate),
            ..self.common.load("rooms", &self.schedule)
        })
    }
}

/// Publishes in every room, once or at the highest rate.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &RoomsArgs) -> anyhow::Result<Report> {
    find_max::run(&args.load()?, &args.common, &args.find_max).await
}
