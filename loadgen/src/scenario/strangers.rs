//! The scenario `strangers`: what many who may do nothing at all cost the broker, and one who may publish.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::args::{CommonArgs, ScheduleArgs};
use super::pour::{self, array, frame};
use super::steady;
use crate::load::Load;
use crate::load::connection::Connection;
use crate::load::plan::Plan;
use crate::load::tally::{Troubles, histogram};
use crate::load::worker::Worker;
use crate::machine::clock::now_ns;
use crate::machine::process::Usage;
use crate::report::{Attack, Config, Findings, OwnUsage, Quantiles, Report, Strangers};
use crate::run::closed_loop;
use crate::run::server::BrokerOptions;
use crate::target::{Event, Role, Target};
use crate::wire::outgoing::Opcode;
use crate::wire::socket::{Buffer, ConnectionEnd};

/// What the one who may publish says of itself at a broker that is started for this.
const TOKEN: &str = "the-one-who-may-publish";
/// The time from an acknowledgement to the next publication.
const PUBLISH_EVERY: Duration = Duration::from_millis(2);
/// How long the last acknowledgement is waited for.
const GRACE: Duration = Duration::from_secs(2);
/// Before a stranger who was turned away comes back.
const BACK_AFTER: Duration = Duration::from_millis(100);
/// Most that a message may have by default, and a body.
const MESSAGE_BYTES: usize = 64 * 1024;
const BODY_BYTES: usize = 16 * MESSAGE_BYTES;

/// The arguments of `strangers`.
#[derive(Debug, Clone, Args)]
pub struct StrangersArgs {
    /// How many connections there are that may do nothing.
    #[arg(long, default_value_t = 800)]
    pub strangers: u32,
    /// The token of the one who may publish, at a broker that is given.
    #[arg(long, env = "FANFARE_TOKEN", default_value = TOKEN, hide_env_values = true)]
    pub token: String,
    /// How long each thing that they do is measured, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long they do it before that, not counted.
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// What all scenarios take. A broker that is given must let nobody do anything without that token.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl StrangersArgs {
    fn load(&self) -> anyhow::Result<Load> {
        ensure!(self.common.target == Target::Fanfare, "strangers is for Fanfare alone, with JSON");
        let strangers = self.strangers.max(1);
        let schedule = ScheduleArgs::of_smallest(self.duration, self.warmup, GRACE);
        Ok(Load {
            subscribers: strangers,
            publishers: 1,
            // The kernel keeps little for them, so that it is the broker that has to.
            stuck: strangers,
            ..self.common.load("strangers", &schedule)
        })
    }
}

/// Something that one can do without any right.
#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    /// Whether it is done on a WebSocket; else as the bytes of a connection.
    upgrades: bool,
    bytes: fn(&Plan) -> Vec<u8>,
    /// Over and over.
    repeats: bool,
    /// Reads what is answered.
    reads: bool,
}

const WAYS: &[Way] = &[
    Way { name: "half a head", upgrades: false, bytes: half_a_head, repeats: false, reads: true },
    Way { name: "half a body", upgrades: false, bytes: half_a_body, repeats: false, reads: true },
    Way { name: "half a message", upgrades: true, bytes: half_a_message, repeats: false, reads: true },
    Way { name: "unread refusals", upgrades: true, bytes: histories, repeats: true, reads: false },
    Way { name: "unread pages", upgrades: false, bytes: listing, repeats: true, reads: false },
    Way { name: "listings", upgrades: false, bytes: listing, repeats: true, reads: true },
    Way { name: "refusals", upgrades: true, bytes: histories, repeats: true, reads: true },
    Way { name: "ping frames", upgrades: true, bytes: pings, repeats: true, reads: true },
    Way { name: "WebSocket pings", upgrades: true, bytes: control_pings, repeats: true, reads: true },
];

fn half_a_head(plan: &Plan) -> Vec<u8> {
    let filling = "x".repeat(8 * 1024);
    format!("GET /v1/topics HTTP/1.1\r\nHost: {}\r\nX-Filling: {filling}", plan.server.host).into_bytes()
}

fn half_a_body(plan: &Plan) -> Vec<u8> {
    let host = &plan.server.host;
    let head = format!("POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    [head.into_bytes(), vec![b' '; BODY_BYTES - 1]].concat()
}

fn half_a_message(_: &Plan) -> Vec<u8> {
    let mut whole = frame(Opcode::Text, &[b' '; MESSAGE_BYTES - 1]);
    whole.pop();
    whole
}

fn histories(plan: &Plan) -> Vec<u8> {
    array(&vec![format!(r#"{{"type":"history","id":1,"topic":"{}"}}"#, plan.topics[0]); 500])
}

fn pings(_: &Plan) -> Vec<u8> {
    array(&[r#"{"type":"ping","id":1}"#; 1000])
}

fn control_pings(_: &Plan) -> Vec<u8> {
    // No mask: four zeros.
    [0x89, 0x80, 0, 0, 0, 0].repeat(1000)
}

fn listing(plan: &Plan) -> Vec<u8> {
    format!("GET /v1/topics?limit=1000 HTTP/1.1\r\nHost: {}\r\n\r\n", plan.server.host).into_bytes()
}

/// What one thread has seen.
struct Seen {
    /// The time from a publication to its acknowledgement, or to the end where there was none, in
    /// nanoseconds.
    acks: Histogram<u64>,
    troubles: Troubles,
}

/// Lets the strangers do one thing after the other, and publishes meanwhile.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &StrangersArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let options = BrokerOptions { token: Some(&args.token), ..BrokerOptions::default() };
    let (server, plan) = steady::prepare_own(&load, &args.common, options).await?;
    ensure!(
        !server.pids.is_empty(),
        "this is about the server's memory, and its process is not known: give its --server-pid"
    );
    let memory = || anyhow::Ok(Usage::of(&server.pids)?.rss_bytes);
    let before_bytes = memory()?;
    let (mut attacks, mut troubles, mut warnings) = (Vec::new(), Troubles::default(), Vec::new());
    let (mut cpu, mut busiest_thread, mut server_ended) = (Duration::ZERO, 0.0_f64, None);
    for way in WAYS {
        let token = args.token.clone();
        let work = move |worker| work(worker, *way, token);
        let times = (args.warmup, args.duration);
        let outcome = closed_loop::run(&plan, &server.pids, times, args.common.quiet, work).await?;
        let mut acks = histogram();
        for seen in &outcome.results {
            acks.add(&seen.acks).expect("all histograms have the same bounds");
            troubles.add(&seen.troubles);
        }
        let rss_bytes =
            outcome.server.as_ref().map_or(0, |(before, after)| before.rss_bytes.max(after.rss_bytes));
        attacks.push(Attack {
            name: way.name.to_owned(),
            acknowledged: acks.len(),
            acknowledged_seconds: Quantiles::of(&acks),
            grown_bytes: rss_bytes.saturating_sub(before_bytes),
        });
        cpu += outcome.own_cpu;
        busiest_thread = busiest_thread.max(outcome.busiest_thread);
        let more = steady::warnings(
            outcome.busiest_thread,
            outcome.own_cpu,
            outcome.server.as_ref(),
            outcome.measured,
        );
        warnings.extend(more.into_iter().map(|warning| format!("{}: {warning}", way.name)));
        server_ended = outcome.server_ended;
        if server_ended.is_some() {
            troubles.count(&format!("the server ended: {}", way.name));
            break;
        }
    }
    Ok(Report {
        scenario: load.scenario.to_owned(),
        config: Config { size_bytes: 1, ..steady::config(&load, &server, &plan) },
        findings: Findings::Strangers(Strangers { strangers: load.subscribers, before_bytes, attacks }),
        loadgen: OwnUsage::of(cpu, busiest_thread, 0),
        server: None,
        server_ended_seconds: server_ended.map(|after| after.as_secs_f64()),
        troubles: steady::troubles(&troubles),
        warnings,
    })
}

/// One thread's share. Who publishes has the first one, so that it never waits for the strangers of this program.
async fn work(worker: Worker, way: Way, token: String) -> anyhow::Result<Seen> {
    let worker = Rc::new(worker);
    let plan = &worker.plan;
    let (is_first, others) = (worker.thread == 0, plan.threads.saturating_sub(1).max(1));
    let is_mine = |n: &u32| plan.threads == 1 || (!is_first && n % others == worker.thread - 1);
    let buffer = Buffer::new();
    let mut seen = Seen { acks: histogram(), troubles: Troubles::default() };
    let publisher = match is_first {
        true => {
            let mut upgrade = plan.upgrade(Role::Publisher, 0);
            upgrade.path = format!("{}?token={token}", upgrade.path);
            let n = u64::from(plan.subscribers);
            Some(Connection::open_with(plan, &upgrade, Role::Publisher, 0, n, &buffer).await?)
        }
        false => None,
    };
    worker.begin().await;
    let mut strangers = JoinSet::new();
    let bytes: Rc<[u8]> = (way.bytes)(plan).into();
    for n in (0..plan.subscribers).filter(is_mine) {
        strangers.spawn_local(come_again(worker.clone(), way, bytes.clone(), n.into()));
    }
    if let Some(publisher) = publisher
        && let Err(e) = publish(publisher, &worker, &buffer, &mut seen.acks).await
    {
        seen.troubles.count(&format!("{}: publisher {e}", way.name));
    }
    while let Some(ended) = strangers.join_next().await {
        ended.context("a stranger panicked")?;
    }
    Ok(seen)
}

/// Publishes again and again, and waits for each acknowledgement.
async fn publish(
    mut connection: Connection,
    worker: &Worker,
    buffer: &Buffer,
    acks: &mut Histogram<u64>,
) -> Result<(), ConnectionEnd> {
    let publish = format!(r#"{{"type":"publish","id":1,"topic":"{}","data":1}}"#, worker.plan.topics[0]);
    while !worker.is_over() {
        let sent = now_ns();
        connection.talk.out.frame(Opcode::Text, &[publish.as_bytes()]);
        connection.flush().await?;
        let mut is_acknowledged = false;
        let acknowledged = async {
            while !is_acknowledged {
                let read = connection.read(buffer, |_, event| match event {
                    Event::Error { why, .. } => Err(ConnectionEnd::Refused(why)),
                    event => {
                        is_acknowledged |= matches!(event, Event::Published(_));
                        Ok(())
                    }
                });
                read.await?;
            }
            Ok(())
        };
        tokio::select! {
            result = acknowledged => result?,
            () = worker.over_for(GRACE) => {}
        }
        // The last one counts, however late it is acknowledged.
        if worker.counts() || worker.is_over() {
            acks.saturating_record(now_ns().saturating_sub(sent));
            worker.done.add(1);
        }
        sleep(PUBLISH_EVERY).await;
    }
    Ok(())
}

/// Comes, does it until it is turned away, and comes back, until it is over.
async fn come_again(worker: Rc<Worker>, way: Way, bytes: Rc<[u8]>, n: u64) {
    let come = pour::come_again(&worker.plan, n, way.upgrades, BACK_AFTER, async |stream| {
        let mut is_sent = false;
        let next = || (way.repeats || !std::mem::replace(&mut is_sent, true)).then(|| bytes.clone());
        pour::pour(stream, way.reads, next).await;
    });
    tokio::select! {
        never = come => match never {},
        () = worker.over_for(Duration::ZERO) => {}
    }
}
