//! The scenario `stuck`: some of the subscribers read nothing until all is over.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::args::{CommonArgs, ScheduleArgs};
use super::steady;
use crate::load::Load;
use crate::load::tally::Woken;
use crate::report::{Findings, MemoryOverTime, Report, Stuck};
use crate::run::open_loop::Run;

/// How often the server's memory is looked at, at most, and how many times.
const SAMPLE_EVERY_MIN: Duration = Duration::from_millis(100);
const SAMPLES_MAX: u32 = 100;

/// The arguments of `stuck`.
#[derive(Debug, Clone, Args)]
pub struct StuckArgs {
    /// How many connections subscribe, each to one topic; topics take turns.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: u32,
    /// Which share of them reads nothing after subscribing, in percent; 0 shows how the others fare without.
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    pub share: f64,
    /// How many topics there are.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// How many connections publish; they take turns, and so do their topics.
    #[arg(long, default_value_t = 1)]
    pub publishers: u32,
    /// Publications a second in all.
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Size of a payload in bytes, at least 35.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, such as 500ms, 10s or 2m: long enough for the buffers of the kernel to fill.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to publish before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// How long the last deliveries may take after that, and then the stuck ones to read all there is; what
    /// comes later is lost.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl StuckArgs {
    fn load(&self) -> anyhow::Result<Load> {
        ensure!((0.0..=99.0).contains(&self.share), "--share must be 0 to 99 percent, not {}", self.share);
        let stuck = (f64::from(self.subscribers) * self.share / 100.0).round() as u32;
        ensure!(stuck > 0 || self.share == 0.0, "--share {} of {} is nobody", self.share, self.subscribers);
        let schedule =
            ScheduleArgs { size: self.size, duration: self.duration, warmup: self.warmup, grace: self.grace };
        Ok(Load {
            subscribers: self.subscribers,
            topics: self.topics,
            publishers: self.publishers,
            stuck: stuck.min(self.subscribers.saturating_sub(1)),
            rate: Some(self.rate),
            ..self.common.load("stuck", &schedule)
        })
    }
}

/// Publishes while some do not read, then lets them read what there is.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &StuckArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    let mut run = Run::start(plan.clone(), &server.pids, args.common.quiet)?;
    run.connect().await?;
    run.sample_memory((args.duration / SAMPLES_MAX).max(SAMPLE_EVERY_MIN));
    let mut measured = run.follow_schedule(load.grace).await?;
    run.wake().await?;
    let outcome = run.finish().await?;
    let Woken { delivered, missed, told, lost, over_told, duplicates, out_of_order, disconnected } =
        outcome.tally.woken;
    let stuck = Stuck {
        subscribers: plan.stuck,
        delivered,
        missed,
        told,
        lost,
        over_told,
        duplicates,
        out_of_order,
        disconnected,
        memory: MemoryOverTime::of(std::mem::take(&mut measured.samples)),
    };
    Ok(steady::compile(&load, &server, &plan, &measured, &outcome, |it| Findings::Stuck(it, stuck)))
}
