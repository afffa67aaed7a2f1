//! The scenario `resume`: all subscribers are cut off at once while publishing goes on, and recover.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::args::{CommonArgs, ScheduleArgs};
use super::steady;
use crate::load::Load;
use crate::report::{Findings, Quantiles, Report, Resume};
use crate::run::open_loop::Run;

/// The arguments of `resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// How many connections subscribe, each to one topic; topics take turns.
    #[arg(long, default_value_t = 5_000)]
    pub subscribers: u32,
    /// How many topics there are.
    #[arg(long, default_value_t = 100)]
    pub topics: u32,
    /// How many connections publish; they take turns, and so do their topics.
    #[arg(long, default_value_t = 1)]
    pub publishers: u32,
    /// Publications a second in all.
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// How long to publish before all are cut off.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub cut_after: Duration,
    /// What is published when.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl ResumeArgs {
    fn load(&self) -> anyhow::Result<Load> {
        self.common.target.ensure_positions("resume")?;
        ensure!(self.cut_after < self.schedule.duration, "--cut-after must be within --duration");
        Ok(Load {
            subscribers: self.subscribers,
            topics: self.topics,
            publishers: self.publishers,
            cut_after: Some(self.cut_after),
            rate: Some(self.rate),
            ..self.common.load("resume", &self.schedule)
        })
    }
}

/// Publishes, cuts all off, and sees them come back.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &ResumeArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    let mut run = Run::start(plan.clone(), &server.pids, args.common.quiet)?;
    run.connect().await?;
    let measured = run.follow_schedule(load.grace).await?;
    let outcome = run.finish().await?;
    let returned = &outcome.tally.returned;
    let resume = Resume {
        cut_off: args.subscribers,
        caught_up: returned.caught_up.len(),
        recovered: returned.recovered,
        reloads: returned.reloads,
        replayed: returned.replayed,
        failed_attempts: returned.failed_attempts,
        back_seconds: Quantiles::of(&returned.back),
        caught_up_seconds: Quantiles::of(&returned.caught_up),
    };
    Ok(steady::compile(&load, &server, &plan, &measured, &outcome, |it| Findings::Resume(it, resume)))
}
