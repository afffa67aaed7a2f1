//! The scenario `neighbour`: what a quiet connection and listeners have of a worker on which others publish without
//! pause.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::args::{CommonArgs, ScheduleArgs};
use super::connect::subscribed;
use super::steady;
use crate::load::Load;
use crate::load::connection::Connection;
use crate::load::tally::{Troubles, histogram};
use crate::load::worker::Worker;
use crate::machine::clock::now_ns;
use crate::report::{Config, Findings, Neighbour, OwnUsage, Quantiles, Report, ServerUsage};
use crate::run::closed_loop::{self, ClosedLoopOutcome};
use crate::run::server::{BrokerOptions, Workers};
use crate::target::{Event, Role, Target};
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::payload::PUBLISHERS_MAX;
use crate::wire::socket::{Buffer, ConnectionEnd};
use crate::wire::websocket::Incoming;

/// The topic that is published to without pause, and the one to which nothing is.
const HASTE: u32 = 0;
const QUIET: u32 = 1;
/// Most frames in a message.
const ARRAY_MAX: u32 = 1024;
/// The time from an answer to the neighbour's next question.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long a slow subscriber does something else after each read.
const SLOW: Duration = Duration::from_millis(20);
/// How long the last answer is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// The arguments of `neighbour`.
#[derive(Debug, Clone, Args)]
pub struct NeighbourArgs {
    /// How many connections subscribe to the topic that is published to, and read it slowly.
    #[arg(long, default_value_t = 500)]
    pub subscribers: u32,
    /// How many connections publish without pause.
    #[arg(long, default_value_t = 3)]
    pub publishers: u32,
    /// How many publications are in each of their messages.
    #[arg(long, default_value_t = 1000, value_name = "PUBLICATIONS")]
    pub array: u32,
    /// How many connections listen to another topic, to which nothing is published, and answer pings.
    #[arg(long, default_value_t = 10)]
    pub listeners: u32,
    /// How long to measure, such as 500ms, 10s or 2m: longer than two ping intervals shows who is closed.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to go on before that, not counted.
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// What all scenarios take. A broker that is started for it has one worker; one that is given should, too.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl NeighbourArgs {
    fn load(&self) -> anyhow::Result<Load> {
        ensure!(self.common.target == Target::Fanfare, "neighbour is for Fanfare alone, with JSON");
        ensure!(
            (1..=PUBLISHERS_MAX).contains(&self.publishers),
            "--publishers must be 1 to {PUBLISHERS_MAX}"
        );
        ensure!((1..=ARRAY_MAX).contains(&self.array), "--array must be 1 to {ARRAY_MAX}");
        let schedule = ScheduleArgs::of_smallest(self.duration, self.warmup, GRACE);
        Ok(Load {
            subscribers: self.subscribers.max(1),
            topics: 2,
            publishers: self.publishers,
            ..self.common.load("neighbour", &schedule)
        })
    }
}

/// What one thread has seen.
#[derive(Debug)]
struct Seen {
    /// The time from a question to its answer, or to the end where there was none, in nanoseconds.
    answers: Histogram<u64>,
    /// How many publications of each of its publishers were acknowledged.
    shares: Vec<u64>,
    listeners_closed: u64,
    subscribers_closed: u64,
    troubles: Troubles,
}

/// What the tasks of one thread share.
struct Shared {
    worker: Worker,
    buffer: Buffer,
}

/// Publishes without pause and asks meanwhile.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &NeighbourArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let options = BrokerOptions { workers: Workers::Preferred(1), ..BrokerOptions::default() };
    let (server, plan) = steady::prepare_own(&load, &args.common, options).await?;
    let (array, listeners) = (args.array, args.listeners);
    let work = move |worker| work(worker, array, listeners);
    let times = (args.warmup, args.duration);
    let outcome = closed_loop::run(&plan, &server.pids, times, args.common.quiet, work).await?;
    let ClosedLoopOutcome { results, measured, own_cpu, server: usage, server_ended, busiest_thread } =
        outcome;
    let (mut answers, mut shares, mut troubles) = (histogram(), Vec::new(), Troubles::default());
    for seen in &results {
        answers.add(&seen.answers).expect("all histograms have the same bounds");
        shares.extend_from_slice(&seen.shares);
        troubles.add(&seen.troubles);
    }
    let most = shares.iter().max().copied().unwrap_or(0) as f64;
    let least = shares.iter().min().copied().unwrap_or(0) as f64;
    let warnings = steady::warnings(busiest_thread, own_cpu, usage.as_ref(), measured);
    Ok(Report {
        scenario: load.scenario.to_owned(),
        config: Config { size_bytes: 1, ..steady::config(&load, &server, &plan) },
        findings: Findings::Neighbour(Neighbour {
            answers: answers.len(),
            answer_seconds: Quantiles::of(&answers),
            share_ratio: most / least.max(1.0),
            shares,
            listeners,
            listeners_closed: results.iter().map(|seen| seen.listeners_closed).sum(),
            subscribers_closed: results.iter().map(|seen| seen.subscribers_closed).sum(),
        }),
        loadgen: OwnUsage::of(own_cpu, busiest_thread, 0),
        server_ended_seconds: server_ended.map(|after| after.as_secs_f64()),
        server: usage.map(|(before, after)| ServerUsage::between(&server.pids, &before, &after, 0)),
        troubles: steady::troubles(&troubles),
        warnings,
    })
}

/// One thread's share. The neighbour and the listeners have the first one, so that they never wait for the others of
/// this program.
async fn work(worker: Worker, array: u32, listeners: u32) -> anyhow::Result<Seen> {
    let shared = Rc::new(Shared { worker, buffer: Buffer::new() });
    let Shared { worker, buffer } = &*shared;
    let plan = &worker.plan;
    let (is_first, others) = (worker.thread == 0, plan.threads.saturating_sub(1).max(1));
    let is_mine = |n: &u32| plan.threads == 1 || (!is_first && n % others == worker.thread - 1);
    let mut n = u64::from(worker.thread) << 32;
    let mut number = || {
        n += 1;
        n
    };
    let (mut subscribers, mut publishers, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
    for _ in (0..plan.subscribers).filter(is_mine) {
        subscribers.push(subscribed(plan, number(), HASTE, buffer).await?);
    }
    for _ in (0..plan.publishers).filter(is_mine) {
        publishers.push(Connection::open(plan, Role::Publisher, HASTE, number(), buffer).await?);
    }
    for _ in 0..if is_first { listeners } else { 0 } {
        quiet.push(subscribed(plan, number(), QUIET, buffer).await?);
    }
    let neighbour = match is_first {
        true => Some(Connection::open(plan, Role::Subscriber, QUIET, number(), buffer).await?),
        false => None,
    };
    worker.begin().await;

    let (mut slow, mut listening, mut publishing) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    subscribers.into_iter().for_each(|one| drop(slow.spawn_local(read(one, shared.clone(), Some(SLOW)))));
    quiet.into_iter().for_each(|one| drop(listening.spawn_local(read(one, shared.clone(), None))));
    let message = message(plan.topics[HASTE as usize].as_str(), array, u64::from(worker.thread));
    for one in publishers {
        publishing.spawn_local(publish(one, shared.clone(), message.clone(), array.into()));
    }
    let mut seen = Seen {
        answers: histogram(),
        shares: Vec::new(),
        listeners_closed: 0,
        subscribers_closed: 0,
        troubles: Troubles::default(),
    };
    if let Some(neighbour) = neighbour
        && let Err(e) = ask(neighbour, &shared, &mut seen.answers).await
    {
        seen.troubles.count(&format!("neighbour {e}"));
    }
    worker.over_for(Duration::ZERO).await;
    for (what, tasks, closed) in [
        ("subscriber", &mut slow, &mut seen.subscribers_closed),
        ("listener", &mut listening, &mut seen.listeners_closed),
    ] {
        while let Some(ended) = tasks.try_join_next() {
            *closed += 1;
            seen.troubles.count(&format!("{what} {}", ended.context("a task panicked")?));
        }
    }
    while let Some(ended) = publishing.join_next().await {
        let (share, result) = ended.context("a publisher panicked")?;
        seen.shares.push(share);
        if let Err(e) = result {
            seen.troubles.count(&format!("publisher {e}"));
        }
    }
    Ok(seen)
}

/// A message of so many publications, the last of which is to be acknowledged.
fn message(topic: &str, array: u32, mask: u64) -> Rc<Outgoing> {
    let publish = |n| {
        let id = if n + 1 == array { r#","id":1"# } else { "" };
        format!(r#"{{"type":"publish","topic":"{topic}","data":1{id}}}"#)
    };
    let frames: Vec<_> = (0..array).map(publish).collect();
    let mut out = Outgoing::new(mask);
    out.frame(Opcode::Text, &[format!("[{}]", frames.join(",")).as_bytes()]);
    Rc::new(out)
}

/// Reads whatever comes and answers pings, until the connection ends; rests after each read.
async fn read(mut connection: Connection, shared: Rc<Shared>, rest: Option<Duration>) -> ConnectionEnd {
    let Connection { reader, writer, talk } = &mut connection;
    loop {
        let read = reader.read(&shared.buffer, |_, incoming| match incoming {
            Incoming::Message(_) => Ok(()),
            incoming => talk.take(incoming, |_| Ok(())),
        });
        if let Err(ended) = read.await {
            return ended;
        }
        match writer.try_write(talk.out.bytes()) {
            Ok(written) => talk.out.written(written),
            Err(ended) => return ended,
        }
        if let Some(rest) = rest {
            sleep(rest).await;
        }
    }
}

/// Sends the message over and over: how many publications were acknowledged while it was measured.
async fn publish(
    mut connection: Connection,
    shared: Rc<Shared>,
    message: Rc<Outgoing>,
    array: u64,
) -> (u64, Result<(), ConnectionEnd>) {
    let Shared { worker, buffer } = &*shared;
    let Connection { reader, writer, talk } = &mut connection;
    let (mut acknowledged, mut at) = (0, 0);
    let publish = async {
        loop {
            let read = reader.read(buffer, |_, incoming| {
                talk.take(incoming, |event| match event {
                    Event::Error { why, .. } => Err(ConnectionEnd::Refused(why)),
                    Event::Published(_) if worker.counts() => {
                        acknowledged += array;
                        worker.done.add(array);
                        Ok(())
                    }
                    _ => Ok(()),
                })
            });
            tokio::select! {
                read = read => read?,
                writable = writer.writable() => {
                    writable?;
                    at += writer.try_write(&message.bytes()[at..])?;
                    if at == message.len() {
                        at = 0;
                        // Between two messages there is room for a pong.
                        let written = writer.try_write(talk.out.bytes())?;
                        talk.out.written(written);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    let result = tokio::select! {
        ended = publish => ended,
        () = worker.over_for(Duration::ZERO) => Ok(()),
    };
    // It may have stopped in the middle of a message.
    writer.silent = true;
    (acknowledged, result)
}

/// Asks again and again, and waits for each answer.
async fn ask(
    mut connection: Connection,
    shared: &Shared,
    answers: &mut Histogram<u64>,
) -> Result<(), ConnectionEnd> {
    let Shared { worker, buffer } = shared;
    while !worker.is_over() {
        let asked = now_ns();
        connection.talk.out.frame(Opcode::Text, &[br#"{"type":"ping","id":1}"#]);
        connection.flush().await?;
        let mut is_answered = false;
        let answer = async {
            while !is_answered {
                // A pong is all that is ever said to it.
                connection
                    .read(buffer, |_, event| {
                        is_answered |= matches!(event, Event::Pong(_));
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        };
        tokio::select! {
            answered = answer => answered?,
            () = worker.over_for(GRACE) => {}
        }
        // The last one counts, however late it is answered.
        if worker.counts() || worker.is_over() {
            answers.saturating_record(now_ns().saturating_sub(asked));
        }
        sleep(ASK_EVERY).await;
    }
    Ok(())
}
