//! The scenario `idle`: what connections cost that do nothing.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use tokio::time::{Instant, sleep};

use super::args::{CommonArgs, ScheduleArgs};
use super::steady;
use crate::load::Load;
use crate::machine::process::Usage;
use crate::report::{Findings, Idle, Report};
use crate::run::open_loop::Run;

/// How long the memory must stay the same to have settled, and the longest wait for it.
const SETTLED: Duration = Duration::from_secs(1);
const SETTLING_MAX: Duration = Duration::from_secs(15);
/// What counts as the same.
const SETTLED_SHARE: f64 = 0.01;
/// How many connections come, get the burst and leave before anything is measured, so that what the server
/// sets up once is not counted; what it keeps of them for others is at most their share.
const WARM_UP_CONNECTIONS: u32 = 50;
/// How long the burst takes.
const BURST: Duration = Duration::from_secs(1);
/// How long its last deliveries may take.
const BURST_GRACE: Duration = Duration::from_secs(30);

/// The arguments of `idle`.
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// How many connections there are, each subscribed to one topic; topics take turns.
    #[arg(long, visible_alias = "subscribers", default_value_t = 5_000)]
    pub connections: u32,
    /// How many topics there are.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// How many publications go to each topic, all within a second, after the connections have been
    /// measured.
    #[arg(long, default_value_t = 50, value_name = "PUBLICATIONS")]
    pub burst: u32,
    /// How long after the burst they are measured again.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub pause: Duration,
    /// Size of a payload in bytes, at least 35.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub size: usize,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl IdleArgs {
    pub(crate) fn load(&self) -> Load {
        let schedule =
            ScheduleArgs { size: self.size, duration: BURST, warmup: Duration::ZERO, grace: BURST_GRACE };
        Load {
            subscribers: self.connections,
            topics: self.topics,
            publishers: 1,
            rate: Some(f64::from(self.burst) * f64::from(self.topics) / BURST.as_secs_f64()),
            ..self.common.load("idle", &schedule)
        }
    }
}

/// Connects all, measures, lets a burst pass through them, and measures again.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &IdleArgs) -> anyhow::Result<Report> {
    let load = args.load();
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    ensure!(
        !server.pids.is_empty(),
        "this is about the server's memory, and its process is not known: give its --server-pid"
    );
    let memory = || anyhow::Ok(Usage::of(&server.pids)?.anonymous_bytes);
    let warm_up = Load { subscribers: args.connections.min(WARM_UP_CONNECTIONS), ..load.clone() };
    steady::run_at(&warm_up, &args.common, &server).await?;
    let before_bytes = settled(memory).await?;
    let mut run = Run::start(plan.clone(), &server.pids, args.common.quiet)?;
    run.connect().await?;
    let connected_bytes = settled(memory).await?;
    let measured = run.follow_schedule(load.grace).await?;
    sleep(args.pause).await;
    let after_burst_bytes = memory()?;
    let outcome = run.finish().await?;
    let connections = plan.connections();
    let each = |after: u64| (after as f64 - before_bytes as f64) / connections as f64;
    let idle = Idle {
        connections,
        before_bytes,
        connected_bytes,
        after_burst_bytes,
        bytes_per_connection: each(connected_bytes),
        bytes_per_connection_after_burst: each(after_burst_bytes),
    };
    Ok(steady::compile(&load, &server, &plan, &measured, &outcome, |it| Findings::Idle(it, idle)))
}

/// The memory once it has stayed the same for a while, or has not for too long.
async fn settled(memory: impl Fn() -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    let end = Instant::now() + SETTLING_MAX;
    let mut last = memory()?;
    loop {
        sleep(SETTLED).await;
        let now = memory()?;
        if now.abs_diff(last) as f64 <= SETTLED_SHARE * last as f64 || Instant::now() > end {
            return Ok(now);
        }
        last = now;
    }
}
