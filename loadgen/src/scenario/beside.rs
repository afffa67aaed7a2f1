//! The scenario `beside`: what somebody who has nothing to do with an attack has of the broker meanwhile.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::args::{CommonArgs, ScheduleArgs};
use super::pour::{array, come_again, pour};
use super::steady;
use crate::load::Load;
use crate::load::plan::Plan;
use crate::machine::thread::{Counter, Phase, Thread, ThreadOutcome};
use crate::report::{Beside, Findings, Report};
use crate::run::open_loop::Run;
use crate::run::server::{BrokerOptions, Server};
use crate::target::Target;

/// Frames of a message.
const FRAMES: u64 = 500;
/// Before an attacker comes back who was turned away.
const BACK_AFTER: Duration = Duration::from_millis(100);
/// How often the server's memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How a signed token begins, `{"alg":"HS256","typ":"JWT"}`, and the signature of none.
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const SIGNATURE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The arguments of `beside`.
#[derive(Debug, Clone, Args)]
pub struct BesideArgs {
    /// What the attackers do.
    #[arg(long, value_enum)]
    pub attack: Attack,
    /// How many they are.
    #[arg(long, default_value_t = 200)]
    pub attackers: u32,
    /// Publications a second of the one who has nothing to do with it, to one subscriber.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// What is published when: once alone, and once beside the attack.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What all scenarios take. A broker that is started for it verifies the tokens that it is brought; one that is given
    /// has the limits, and the keys, that it is to show.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Something that is done without pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Subscribes to many topics and unsubscribes from them.
    Subscriptions,
    /// Publishes to topics that are new, each once.
    Topics,
    /// Publishes to one topic.
    Publications,
    /// Becomes a WebSocket, hangs up and comes back.
    Connections,
    /// Begins a request and never ends it.
    Handshakes,
    /// Says by a token that nobody has signed who it is, is closed and comes back.
    Tokens,
}

impl Attack {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn upgrades(self) -> bool {
        self != Self::Handshakes
    }

    /// Whether it is to come back without a pause: each of its connections is over soon.
    fn hangs_up(self) -> bool {
        matches!(self, Self::Connections | Self::Tokens)
    }

    /// The message number `nth` of attacker `n`; none where it says nothing more.
    fn message(self, plan: &Plan, n: u64, nth: u64) -> Option<Rc<[u8]>> {
        let of_topic =
            |kind: &str, topic: String| format!(r#"{{"type":"{kind}","topic":"{topic}","data":1}}"#);
        let topic = &plan.topics[0];
        let numbers = |count: u64| nth * count..(nth + 1) * count;
        let frames: Vec<_> = match self {
            Self::Subscriptions => {
                let kind = if nth.is_multiple_of(2) { "subscribe" } else { "unsubscribe" };
                let frame = |i| format!(r#"{{"type":"{kind}","topic":"{topic}-{n}-{i}"}}"#);
                (0..FRAMES).map(frame).collect()
            }
            Self::Topics => {
                numbers(FRAMES).map(|i| of_topic("publish", format!("{topic}-{n}-{i}"))).collect()
            }
            Self::Publications => vec![of_topic("publish", format!("{topic}-flood")); FRAMES as usize],
            Self::Tokens => {
                let token = format!("{HEAD}.{n:08x}{nth:016x}.{SIGNATURE}");
                vec![format!(r#"{{"type":"connect","id":1,"token":"{token}"}}"#)]
            }
            Self::Handshakes => {
                let head = format!("GET /ws HTTP/1.1\r\nHost: {}\r\nX-Filling: ", plan.server.host);
                return (nth == 0).then(|| head.into_bytes().into());
            }
            Self::Connections => return None,
        };
        Some(array(&frames).into())
    }
}

impl BesideArgs {
    fn load(&self) -> anyhow::Result<Load> {
        ensure!(self.common.target == Target::Fanfare, "beside is for Fanfare alone, with JSON");
        ensure!(self.attackers > 0, "--attackers must be at least 1");
        let rate = Some(self.rate);
        Ok(Load { subscribers: 1, publishers: 1, rate, ..self.common.load("beside", &self.schedule) })
    }
}

/// Publishes without the attack, and then beside it.
///
/// # Errors
/// Why nothing could be measured.
pub async fn run(args: &BesideArgs) -> anyhow::Result<Report> {
    let load = args.load()?;
    let options = BrokerOptions { verifies: args.attack == Attack::Tokens, ..BrokerOptions::default() };
    let server = steady::find_server(&load, &args.common, options).await?;
    let alone = steady::run_at(&load, &args.common, &server).await?;
    let alone_seconds = alone.deliveries().and_then(|it| it.latency_seconds.clone());
    let mut report = beside(args, &load, &server).await?;
    if let Findings::Beside(_, it) = &mut report.findings {
        it.alone_seconds = alone_seconds;
    }
    report.troubles.extend(alone.troubles);
    Ok(report)
}

async fn beside(args: &BesideArgs, load: &Load, server: &Server) -> anyhow::Result<Report> {
    let plan = steady::plan(load, &args.common, server).await?;
    let mut run = Run::start(plan.clone(), &server.pids, args.common.quiet)?;
    run.connect().await?;
    run.sample_memory(SAMPLE_EVERY);
    let attackers = Attackers::start(&plan, args.attack, args.attackers)?;
    let mut measured = run.follow_schedule(load.grace).await?;
    let ThreadOutcome { result: blows, busy } = attackers.end().await?;
    let mut outcome = run.finish().await?;
    outcome.busiest_thread = outcome.busiest_thread.max(busy);
    let samples = std::mem::take(&mut measured.samples);
    let found = Beside {
        attack: args.attack.name(),
        attackers: args.attackers,
        blows,
        alone_seconds: None,
        memory_max_bytes: samples.iter().map(|(_, bytes)| *bytes).max(),
    };
    Ok(steady::compile(load, server, &plan, &measured, &outcome, |it| Findings::Beside(it, found)))
}

/// A thread of the attackers alone, so that those who are measured never wait for them in this program.
struct Attackers {
    phase: watch::Sender<Phase>,
    thread: Thread<u64>,
}

impl Attackers {
    fn start(plan: &Arc<Plan>, attack: Attack, count: u32) -> anyhow::Result<Self> {
        let (phase, follower) = watch::channel(Phase::Measuring);
        let (plan, over) = (plan.clone(), follower.clone());
        let work = move || attack_until(plan, attack, count, over);
        Ok(Self { phase, thread: Thread::spawn("attackers".into(), follower, work)? })
    }

    /// Ends the attack: how many blows there were.
    async fn end(self) -> anyhow::Result<ThreadOutcome<u64>> {
        self.phase.send_replace(Phase::Draining);
        self.thread.join().await
    }
}

async fn attack_until(
    plan: Arc<Plan>,
    attack: Attack,
    count: u32,
    mut over: watch::Receiver<Phase>,
) -> anyhow::Result<u64> {
    let (plan, blows) = (Rc::new(plan), Counter::default());
    let mut attackers = JoinSet::new();
    for n in 0..u64::from(count) {
        let (plan, blows) = (plan.clone(), blows.clone());
        attackers.spawn_local(async move {
            let mut nth = 0;
            let pause = if attack.hangs_up() { Duration::ZERO } else { BACK_AFTER };
            let visit = async |stream: &TcpStream| {
                if attack == Attack::Connections {
                    return blows.add(1);
                }
                if attack == Attack::Handshakes {
                    nth = 0;
                }
                let next = || {
                    let message = attack.message(&plan, n, nth)?;
                    nth += 1;
                    blows.add(1);
                    Some(message)
                };
                pour(stream, true, next).await;
            };
            come_again(&plan, n, attack.upgrades(), pause, visit).await
        });
    }
    over.wait_for(|phase| *phase > Phase::Measuring).await.context("the run was given up")?;
    attackers.shutdown().await;
    Ok(blows.get())
}
