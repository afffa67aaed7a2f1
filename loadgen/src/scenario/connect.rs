//! The scenario `connect`: connections that come, subscribe and leave.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::args::{CommonArgs, ScheduleArgs};
use super::steady;
use crate::load::Load;
use crate::load::connection::{CONNECT_TIMEOUT, Connection};
use crate::load::plan::Plan;
use crate::load::tally::{Troubles, histogram};
use crate::load::worker::Worker;
use crate::machine::clock::now_ns;
use crate::report::{Connects, Findings, OwnUsage, Quantiles, Report, ServerUsage};
use crate::run::closed_loop::{self, ClosedLoopOutcome};
use crate::target::{Event, Role};
use crate::wire::socket::{Buffer, ConnectionEnd};

/// How long one waits after a connection that failed, so that a broker that refuses all is not flooded.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// The arguments of `connect`.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// How many connections there are at a time: each subscribes, waits until that is confirmed, and leaves
    /// for the next one.
    #[arg(long, default_value_t = 64)]
    pub concurrency: u32,
    /// How many topics there are; connections take turns.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to connect before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl ConnectArgs {
    fn load(&self) -> anyhow::Result<Load> {
        ensure!(self.concurrency > 0, "--concurrency must be at least 1");
        let schedule = ScheduleArgs::of_smallest(self.duration, self.warmup, CONNECT_TIMEOUT);
        Ok(Load {
            subscribers: self.concurrency,
            topics: self.topics,
            ..self.common.load("connect", &schedule)
        })
    }
}

/// What one thread has seen.
#[derive(Debug)]
struct Seen {
    ready: Histogram<u64>,
    closed: Histogram<u64>,
    failed: u64,
    troubles: Troubles,
}

impl Seen {
    fn new() -> Self {
        Self { ready: histogram(), closed: histogram(), failed: 0, troubles: Troubles::default() }
    }

    fn fail(&mut self, e: &anyhow::Error) {
        self.failed += 1;
        self.troubles.count(&format!("connection: {e:#}"));
    }

    fn add(&mut self, other: &Self) {
        self.ready.add(&other.ready).expect("all histograms have the same bounds");
        self.closed.add(&other.closed).expect("all histograms have the same bounds");
        self.failed += other.failed;
        self.troubles.add(&other.troubles);
    }
}

/// Connects, subscribes and leaves, again and again.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &ConnectArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    let times = (args.warmup, args.duration);
    let outcome = closed_loop::run(&plan, &server.pids, times, args.common.quiet, work).await?;
    let ClosedLoopOutcome { results, measured, own_cpu, server: usage, server_ended, busiest_thread } =
        outcome;
    let mut seen = Seen::new();
    results.iter().for_each(|result| seen.add(result));
    let count = seen.closed.len();
    let mut warnings = steady::warnings(busiest_thread, own_cpu, usage.as_ref(), measured);
    if !plan.target.confirms_subscriptions() {
        warnings.push(format!(
            "{} confirms no subscription: a connection counts as ready when it is one, which is less than others do",
            plan.target.name()
        ));
    }
    let usage = usage.map(|(before, after)| ServerUsage::between(&server.pids, &before, &after, 0));
    Ok(Report {
        scenario: load.scenario.to_owned(),
        config: steady::config(&load, &server, &plan),
        findings: Findings::Connect(Connects {
            count,
            per_second: count as f64 / measured.as_secs_f64(),
            failed: seen.failed,
            concurrency: args.concurrency,
            ready_seconds: Quantiles::of(&seen.ready),
            closed_seconds: Quantiles::of(&seen.closed),
            server_cpu_seconds_each: usage.as_ref().and_then(|usage| usage.cpu_each(count)),
            server_user_seconds_each: usage.as_ref().and_then(|usage| usage.user_each(count)),
        }),
        loadgen: OwnUsage::of(own_cpu, busiest_thread, 0),
        server_ended_seconds: server_ended.map(|after| after.as_secs_f64()),
        server: usage,
        troubles: steady::troubles(&seen.troubles),
        warnings,
    })
}

/// One thread's share of the connections.
async fn work(worker: Worker) -> anyhow::Result<Seen> {
    let shared = Rc::new((worker, Buffer::new(), RefCell::new(Seen::new())));
    let (worker, ..) = &*shared;
    worker.begin().await;
    let mut tasks = JoinSet::new();
    for n in (worker.thread..worker.plan.subscribers).step_by(worker.plan.threads as usize) {
        tasks.spawn_local(come_and_go(n, shared.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection's task panicked")?;
    }
    let (.., seen) = Rc::into_inner(shared).expect("all tasks have ended");
    Ok(seen.into_inner())
}

async fn come_and_go(first: u32, shared: Rc<(Worker, Buffer, RefCell<Seen>)>) {
    let (worker, buffer, seen) = &*shared;
    let mut n = u64::from(first);
    while !worker.is_over() {
        let start = now_ns();
        let mut ready = start;
        let result = timeout(CONNECT_TIMEOUT, once(worker, n, buffer, &mut ready)).await;
        match result.unwrap_or_else(|_| Err(anyhow::anyhow!("no end in {CONNECT_TIMEOUT:?}"))) {
            Ok(()) if worker.counts() => {
                let mut seen = seen.borrow_mut();
                seen.ready.saturating_record(ready - start);
                seen.closed.saturating_record(now_ns() - start);
                worker.done.add(1);
            }
            Ok(()) => {}
            Err(e) => {
                seen.borrow_mut().fail(&e);
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        n += u64::from(worker.plan.subscribers);
    }
}

/// The life of connection `n`; `ready` is when its subscription stood.
async fn once(worker: &Worker, n: u64, buffer: &Buffer, ready: &mut u64) -> anyhow::Result<()> {
    let topic = (n % worker.plan.topics.len() as u64) as u32;
    let connection = subscribed(&worker.plan, n, topic, buffer).await?;
    *ready = now_ns();
    connection.close(buffer).await.context("not closed cleanly")
}

/// Connection `n`, once its subscription to a topic stands.
pub(super) async fn subscribed(
    plan: &Plan,
    n: u64,
    topic: u32,
    buffer: &Buffer,
) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(plan, Role::Subscriber, topic, n, buffer).await?;
    connection.subscribe([(&plan.topics[topic as usize], None)]).await?;
    let mut subscribed = !plan.target.confirms_subscriptions();
    while !subscribed {
        let read = connection.read(buffer, |_, event| {
            match event {
                Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
                event => subscribed |= matches!(event, Event::Subscribed { .. }),
            }
            Ok(())
        });
        read.await.context("cannot subscribe")?;
    }
    Ok(connection)
}
