//! The scenario `ping`: how soon quiet connections are answered.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::args::{CommonArgs, ScheduleArgs};
use super::steady;
use crate::load::Load;
use crate::load::connection::Connection;
use crate::load::ping::{Answers, Pings};
use crate::load::schedule::Schedule;
use crate::load::worker::Worker;
use crate::machine::clock::{Timer, now_ns};
use crate::report::{self, Config, Findings, OwnUsage, Quantiles, Report, ServerUsage};
use crate::run::closed_loop::{self, ClosedLoopOutcome};
use crate::target::{Role, Target};
use crate::wire::socket::Buffer;

pub use crate::load::ping::Via;

/// The shortest interval: more pings than that are no quiet connection's.
const INTERVAL_MIN: Duration = Duration::from_micros(100);

/// The arguments of `ping`.
#[derive(Debug, Clone, Args)]
pub struct PingArgs {
    /// How many connections there are. They subscribe to nothing, where the target lets them.
    #[arg(long, default_value_t = 1)]
    pub connections: u32,
    /// The time from when one ping of a connection is due until the next one is, answered or not, such as 10ms.
    #[arg(long, default_value = "10ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub interval: Duration,
    /// What a ping is [default: the protocol's own where the target is fanfare or fanfare-msgpack, else a frame].
    #[arg(long, value_enum)]
    pub via: Option<Via>,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to ping before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// How long after it was due a ping may be answered; what is answered later is unanswered.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl PingArgs {
    fn via(&self) -> anyhow::Result<Via> {
        let target: Target = self.common.target;
        let usual = if target.has_pings() { Via::Protocol } else { Via::Frame };
        let via = self.via.unwrap_or(usual);
        ensure!(
            via == Via::Frame || target.has_pings(),
            "--via protocol is for fanfare and fanfare-msgpack, not for {}",
            target.name()
        );
        Ok(via)
    }

    fn load(&self) -> anyhow::Result<Load> {
        let Self { connections, interval, duration, .. } = *self;
        ensure!(connections > 0, "--connections must be at least 1");
        ensure!(
            (INTERVAL_MIN..=duration).contains(&interval),
            "--interval must be {INTERVAL_MIN:?} to the --duration of {duration:?}, not {interval:?}"
        );
        let schedule = ScheduleArgs::of_smallest(duration, self.warmup, self.grace);
        Ok(Load { subscribers: connections, ..self.common.load("ping", &schedule) })
    }

    /// The pings of all connections, which take turns.
    fn schedule(&self) -> anyhow::Result<Schedule> {
        let rate = f64::from(self.connections) / self.interval.as_secs_f64();
        Schedule::new(rate, self.connections, 1, self.warmup, self.duration).map_err(anyhow::Error::msg)
    }
}

/// Pings by a schedule and reads the answers.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &PingArgs) -> anyhow::Result<Report> {
    let (load, schedule, via) = (args.load()?, args.schedule()?, args.via()?);
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    let count = schedule.measured_count();
    let work = move |worker| work(worker, schedule, via);
    let times = (args.warmup, args.duration);
    let outcome = closed_loop::run(&plan, &server.pids, times, args.common.quiet, work).await?;
    let ClosedLoopOutcome { results, measured, own_cpu, server: usage, server_ended, busiest_thread } =
        outcome;
    let mut answers = Answers::new();
    results.iter().for_each(|result| answers.add(result));
    let warnings = steady::warnings(busiest_thread, own_cpu, usage.as_ref(), measured);
    Ok(Report {
        scenario: load.scenario.to_owned(),
        config: Config { subscribers: 0, topics: 0, ..steady::config(&load, &server, &plan) },
        findings: Findings::Ping(report::Pings {
            connections: args.connections,
            interval_seconds: args.interval.as_secs_f64(),
            via: via.name().to_owned(),
            count,
            answered: answers.answered,
            unanswered: answers.unanswered,
            answer_seconds: Quantiles::of(&answers.times),
            sent_late_seconds: Quantiles::of(&answers.late),
        }),
        loadgen: OwnUsage::of(own_cpu, busiest_thread, 0),
        server_ended_seconds: server_ended.map(|after| after.as_secs_f64()),
        server: usage.map(|(before, after)| ServerUsage::between(&server.pids, &before, &after, 0)),
        troubles: steady::troubles(&answers.troubles),
        warnings,
    })
}

/// One thread's share of the connections.
async fn work(worker: Worker, schedule: Schedule, via: Via) -> anyhow::Result<Answers> {
    let shared = Rc::new((worker, Buffer::new(), schedule));
    let (worker, buffer, _) = &*shared;
    let plan = &worker.plan;
    let mut connections = Vec::new();
    for n in (worker.thread..plan.subscribers).step_by(plan.threads as usize) {
        let connection = Connection::open(plan, Role::Subscriber, 0, n.into(), buffer).await?;
        connections.push((n, connection, Timer::new().context("cannot make a timer")?));
    }
    worker.begin().await;
    let start_ns = now_ns();
    let mut tasks = JoinSet::new();
    for (n, connection, timer) in connections {
        let shared = shared.clone();
        tasks.spawn_local(async move {
            let (worker, buffer, schedule) = &*shared;
            let times = (schedule, start_ns, worker.plan.grace.as_nanos() as u64);
            let turn = (n, worker.plan.subscribers);
            Pings::new(times, turn, via, &worker.done).run(connection, timer, buffer).await
        });
    }
    let mut answers = Answers::new();
    while let Some(ended) = tasks.join_next().await {
        answers.add(&ended.context("a connection's task panicked")?);
    }
    // The last one may be answered before the time is over.
    worker.over_for(Duration::ZERO).await;
    Ok(answers)
}
