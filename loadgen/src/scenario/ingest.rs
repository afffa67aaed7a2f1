//! The scenario `ingest`: how many publications a second the broker acknowledges.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use fanfare_client::Client;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::args::{CommonArgs, ScheduleArgs};
use super::connect::subscribed;
use super::steady;
use crate::load::Load;
use crate::load::connection::{CONNECT_TIMEOUT, Connection};
use crate::load::ingest::{Acks, Flow, client, http, websocket};
use crate::load::plan::Plan;
use crate::load::worker::Worker;
use crate::report::{Config, Findings, Ingest, OwnUsage, Quantiles, Report, ServerUsage};
use crate::run::closed_loop::{self, ClosedLoopOutcome};
use crate::target::{Event, Role};
use crate::wire::payload::PUBLISHERS_MAX;
use crate::wire::socket::{Buffer, ConnectionEnd, Socket};

/// How long the last acknowledgements may take.
const GRACE: Duration = Duration::from_secs(2);
/// Most publications under way, so that what waits stays small.
const WINDOW_MAX: u32 = 4096;

/// The arguments of `ingest`.
#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    /// By which way to publish.
    #[arg(long, value_enum, default_value_t = Via::Websocket)]
    pub via: Via,
    /// How many connections publish [default: 1; by HTTP 16].
    #[arg(long)]
    pub publishers: Option<u32>,
    /// How many publications each may have under way without an acknowledgement [default: 512; by HTTP 1,
    /// as most clients do].
    #[arg(long)]
    pub window: Option<u32>,
    /// How many topics there are; publications take turns.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// How many further connections are held open meanwhile, subscribed to another topic to which nothing
    /// is published.
    #[arg(long, default_value_t = 0, value_name = "CONNECTIONS")]
    pub bystanders: u32,
    /// Size of a payload in bytes, at least 35.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to publish before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// What all scenarios take.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// By which way to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// The crate `fanfare-client`.
    Client,
    /// Fanfare's HTTP API, on connections that are kept alive.
    Http,
    /// A WebSocket, in the dialect of the target.
    Websocket,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Http => "http",
            Self::Websocket => "websocket",
        }
    }
}

impl IngestArgs {
    fn publishers(&self) -> u32 {
        self.publishers.unwrap_or(if self.via == Via::Http { 16 } else { 1 })
    }

    fn window(&self) -> u32 {
        self.window.unwrap_or(if self.via == Via::Http { 1 } else { 512 })
    }

    fn load(&self) -> anyhow::Result<Load> {
        let (publishers, window, target) = (self.publishers(), self.window(), self.common.target);
        ensure!((1..=PUBLISHERS_MAX).contains(&publishers), "--publishers must be 1 to {PUBLISHERS_MAX}");
        ensure!(self.topics > 0, "--topics must be at least 1");
        ensure!((1..=WINDOW_MAX).contains(&window), "--window must be 1 to {WINDOW_MAX}");
        match self.via {
            Via::Websocket => ensure!(
                target.confirms_publications(),
                "{} acknowledges no publications: there is nothing to count",
                target.name()
            ),
            via => {
                ensure!(target.is_fanfare(), "--via {} is for Fanfare, not for {}", via.name(), target.name())
            }
        }
        let schedule =
            ScheduleArgs { size: self.size, duration: self.duration, warmup: self.warmup, grace: GRACE };
        Ok(Load {
            subscribers: self.bystanders,
            // That of the bystanders is the last one.
            topics: self.topics.saturating_add((self.bystanders > 0).into()),
            publishers,
            ..self.common.load("ingest", &schedule)
        })
    }
}

/// Publishes as fast as it is acknowledged.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &IngestArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let (server, plan) = steady::prepare(&load, &args.common).await?;
    let (via, url) = (args.via, server.url.clone());
    let (window, topics) = (args.window(), args.topics);
    let work = move |worker| work(worker, via, window, topics, url);
    let times = (args.warmup, args.duration);
    let outcome = closed_loop::run(&plan, &server.pids, times, args.common.quiet, work).await?;
    let ClosedLoopOutcome { results, measured, own_cpu, server: usage, server_ended, busiest_thread } =
        outcome;
    let mut acks = Acks::new();
    results.iter().for_each(|result| acks.add(result));
    let acknowledged = acks.measured.len();
    let warnings = steady::warnings(busiest_thread, own_cpu, usage.as_ref(), measured);
    let usage = usage.map(|(before, after)| ServerUsage::between(&server.pids, &before, &after, 0));
    Ok(Report {
        scenario: load.scenario.to_owned(),
        config: Config { subscribers: 0, topics, ..steady::config(&load, &server, &plan) },
        findings: Findings::Ingest(Ingest {
            via: via.name().to_owned(),
            window,
            bystanders: args.bystanders,
            acknowledged,
            acknowledged_per_second: acknowledged as f64 / measured.as_secs_f64(),
            refused: acks.refused,
            unacknowledged: acks.unacknowledged,
            acknowledged_seconds: Quantiles::of(&acks.measured),
            server_cpu_seconds_each: usage.as_ref().and_then(|usage| usage.cpu_each(acknowledged)),
            server_user_seconds_each: usage.as_ref().and_then(|usage| usage.user_each(acknowledged)),
        }),
        loadgen: OwnUsage::of(own_cpu, busiest_thread, 0),
        server_ended_seconds: server_ended.map(|after| after.as_secs_f64()),
        server: usage,
        troubles: steady::troubles(&acks.troubles),
        warnings,
    })
}

/// One thread's share of the publishers and bystanders.
async fn work(worker: Worker, via: Via, window: u32, topics: u32, url: String) -> anyhow::Result<Acks> {
    let shared = Rc::new((worker, Buffer::new()));
    let (worker, buffer) = &*shared;
    let mut publishers = Vec::new();
    for n in (worker.thread..worker.plan.publishers).step_by(worker.plan.threads as usize) {
        publishers.push((n, Publisher::connect(via, (n, n % topics), &worker.plan, &url, buffer).await?));
    }
    let mut bystanders = JoinSet::new();
    for n in (worker.thread..worker.plan.subscribers).step_by(worker.plan.threads as usize) {
        // One after the other, so that no listen backlog overflows.
        let n = u64::from(worker.plan.publishers + n);
        let opened = timeout(CONNECT_TIMEOUT, subscribed(&worker.plan, n, topics, buffer)).await;
        let connection = opened.context("a bystander is not subscribed in time")??;
        bystanders.spawn_local(stand_by(connection, shared.clone()));
    }
    worker.begin().await;
    let mut tasks = JoinSet::new();
    for (n, publisher) in publishers {
        let shared = shared.clone();
        tasks.spawn_local(async move {
            let (worker, buffer) = &*shared;
            publisher.run(Flow::new(worker, n, window, topics), worker, buffer).await
        });
    }
    let mut acks = Acks::new();
    while let Some(ended) = tasks.join_next().await {
        acks.add(&ended.context("a publisher panicked")?);
    }
    while let Some(ended) = bystanders.try_join_next() {
        acks.troubles.count(&format!("bystander {}", ended.context("a bystander panicked")?));
    }
    Ok(acks)
}

/// Reads what there should not be, so that pings are answered.
async fn stand_by(mut connection: Connection, shared: Rc<(Worker, Buffer)>) -> ConnectionEnd {
    loop {
        let nothing = |_, _: Event| Err(ConnectionEnd::Refused("it got something".to_owned()));
        if let Err(ended) = connection.read(&shared.1, nothing).await {
            return ended;
        }
    }
}

/// A publisher that is connected.
enum Publisher {
    Client(Client),
    Http(Socket),
    Websocket(Box<Connection>),
}

impl Publisher {
    /// Number `n`; `topic` matters where it is in the path.
    async fn connect(
        via: Via,
        (n, topic): (u32, u32),
        plan: &Plan,
        url: &str,
        buffer: &Buffer,
    ) -> anyhow::Result<Self> {
        Ok(match via {
            Via::Client => {
                let options = plan.client(url).connect_timeout(CONNECT_TIMEOUT);
                let options =
                    options.publish_buffer(WINDOW_MAX as usize).message_size(2 * plan.size.max(64 * 1024));
                Self::Client(options.connect().await.with_context(|| format!("cannot connect to {url}"))?)
            }
            Via::Http => Self::Http(plan.route(n.into()).open().await?),
            Via::Websocket => Self::Websocket(Box::new(
                Connection::open(plan, Role::Publisher, topic, n.into(), buffer).await?,
            )),
        })
    }

    /// Publishes until it is over, and not much longer.
    async fn run(self, mut flow: Flow<'_>, worker: &Worker, buffer: &Buffer) -> Acks {
        let publish = async {
            match self {
                Self::Client(client) => client::publish(&mut flow, &client).await,
                Self::Http(stream) => http::publish(&mut flow, stream).await,
                Self::Websocket(connection) => websocket::publish(&mut flow, *connection, buffer).await,
            }
        };
        let result = tokio::select! {
            result = publish => result,
            () = worker.over_for(GRACE) => Ok(()),
        };
        flow.end(result)
    }
}
