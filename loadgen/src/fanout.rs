//! The scenario `fanout`: every publication goes to all subscribers of its topic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::cli::FanoutArgs;
use crate::clock::now_ns;
use crate::limits;
use crate::plan::{Plan, ServerAddress};
use crate::process::{Usage, own_cpu_time};
use crate::progress::Bar;
use crate::publisher::{self, Published};
use crate::report::{self, OwnUsage, Quantiles, Report, ServerUsage, Trouble};
use crate::server::Server;
use crate::subscriber::{self, Group};
use crate::tally::Tally;
use crate::thread::{Counter, Phase, Thread};
use crate::unit::Unit;

/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(20);
/// From when everybody is subscribed to the first publication; longer where no reply confirms it.
const PAUSE_CONFIRMED: Duration = Duration::from_millis(20);
const PAUSE_UNCONFIRMED: Duration = Duration::from_millis(200);
/// How long to go on reading when all is there: it might come twice.
const AFTERMATH: Duration = Duration::from_millis(50);
/// A thread that is on a processor for more than this share of the time is a bottleneck.
const BUSY_MAX: f64 = 0.9;

/// Finds or starts the broker, puts the load on it and reports.
///
/// # Errors
/// Why nothing could be measured. Losses and the like are no errors but part of the report.
pub async fn run(args: &FanoutArgs) -> anyhow::Result<Report> {
    limits::raise_file_limit();
    let server = Server::find(&args.common, args.size).await?;
    if !args.common.quiet {
        eprintln!("broker at {}: {}", server.url, server.how);
    }
    let address = ServerAddress::resolve(&server.url).await?;
    let plan = Arc::new(Plan::new(args, address)?);
    limits::check(&plan)?;
    let mut run = Run::start(plan, server.pid, args.common.quiet)?;
    run.connect().await?;
    let measured = run.follow_schedule(args.grace).await?;
    let (tally, busiest, published) = run.finish().await?;
    Ok(compile(args, &server, &run.plan, &tally, &published, &measured, busiest))
}

/// A run under way.
struct Run {
    plan: Arc<Plan>,
    server_pid: Option<u32>,
    quiet: bool,
    phase: watch::Sender<Phase>,
    readers: Vec<Thread<Tally>>,
    publishers: Option<Thread<Published>>,
    subscribed: Vec<Counter>,
    delivered: Vec<Counter>,
    publishing: publisher::Progress,
}

/// What was used between the first measured publication and the last delivery.
struct Measured {
    own_cpu: Duration,
    server: Option<(Usage, Usage)>,
    from_ns: u64,
}

impl Run {
    /// Starts all threads, which begin to connect.
    fn start(plan: Arc<Plan>, server_pid: Option<u32>, quiet: bool) -> anyhow::Result<Self> {
        let (phase, follower) = watch::channel(Phase::Connecting);
        let counters = || (0..plan.threads).map(|_| Counter::default()).collect::<Vec<_>>();
        let (subscribed, delivered) = (counters(), counters());
        let mut readers = Vec::new();
        for (thread, (subscribed, delivered)) in (0..).zip(subscribed.iter().zip(&delivered)) {
            let (subscribed, delivered) = (subscribed.clone(), delivered.clone());
            let group = Group { plan: plan.clone(), thread, subscribed, delivered };
            let phase = follower.clone();
            let work = move || subscriber::run(group, phase);
            readers.push(Thread::spawn(format!("reader-{thread}"), follower.clone(), work)?);
        }
        let publishing = publisher::Progress::default();
        let work = {
            let (plan, publishing, phase) = (plan.clone(), publishing.clone(), follower.clone());
            move || publisher::run(plan, publishing, phase)
        };
        let publishers = Some(Thread::spawn("publisher".into(), follower, work)?);
        Ok(Self { plan, server_pid, quiet, phase, readers, publishers, subscribed, delivered, publishing })
    }

    /// Waits until everybody is connected and subscribed.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let total = self.plan.connections();
        let bar = Bar::connecting(total, self.quiet);
        loop {
            let connected = sum(&self.subscribed) + self.publishing.connected.get();
            bar.connected(connected);
            if connected == total {
                break;
            }
            self.check_alive()?;
            sleep(TICK).await;
        }
        let confirmed = self.plan.target.confirms_subscriptions();
        sleep(if confirmed { PAUSE_CONFIRMED } else { PAUSE_UNCONFIRMED }).await;
        Ok(())
    }

    /// Lets the schedule run, from its start until the last delivery is there or not to be hoped for.
    async fn follow_schedule(&mut self, grace: Duration) -> anyhow::Result<Measured> {
        let plan = self.plan.clone();
        let start_ns = now_ns() + 5_000_000;
        let (from_ns, end_ns) =
            (start_ns + plan.schedule.measured_from_ns(), start_ns + plan.schedule.end_ns());
        let bar = Bar::running(Duration::from_nanos(end_ns - start_ns), self.quiet);
        self.phase.send_replace(Phase::Running { start_ns });
        self.wait_until(from_ns, start_ns, &bar).await?;
        self.phase.send_replace(Phase::Measuring);
        let (own_before, server_before) = (own_cpu_time(), self.server_usage()?);
        self.wait_until(end_ns, start_ns, &bar).await?;
        self.phase.send_replace(Phase::Draining);
        let last_ns = end_ns + grace.as_nanos() as u64;
        while now_ns() < last_ns && !self.is_complete() {
            self.check_alive()?;
            sleep(Duration::from_millis(1)).await;
        }
        sleep(AFTERMATH).await;
        let own_cpu = own_cpu_time() - own_before;
        Ok(Measured { own_cpu, server: server_before.zip(self.server_usage()?), from_ns })
    }

    /// Ends all threads and adds up what they have seen; also which share of the time the busiest one
    /// was on a processor.
    async fn finish(&mut self) -> anyhow::Result<(Tally, f64, Published)> {
        self.phase.send_replace(Phase::Done);
        let (mut tally, mut busiest) = (Tally::new(), 0.0_f64);
        for reader in self.readers.drain(..) {
            let finished = reader.join().await?;
            busiest = busiest.max(finished.busy);
            tally.add(&finished.result);
        }
        let published = self.publishers.take().expect("a run finishes once").join().await?;
        Ok((tally, busiest.max(published.busy), published.result))
    }

    async fn wait_until(&mut self, time_ns: u64, start_ns: u64, bar: &Bar) -> anyhow::Result<()> {
        loop {
            let now = now_ns();
            if now >= time_ns {
                return Ok(());
            }
            self.check_alive()?;
            let delivered = Unit::Count.show(sum(&self.delivered) as f64);
            bar.ran(Duration::from_nanos(now.saturating_sub(start_ns)), format!("{delivered} delivered"));
            sleep(TICK.min(Duration::from_nanos(time_ns - now))).await;
        }
    }

    /// Whether all has been published and delivered.
    fn is_complete(&self) -> bool {
        self.publishing.finished.get() == 1 && sum(&self.delivered) >= self.publishing.expected.get()
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        self.readers.iter_mut().try_for_each(Thread::check_alive)?;
        self.publishers.iter_mut().try_for_each(Thread::check_alive)
    }

    fn server_usage(&self) -> anyhow::Result<Option<Usage>> {
        self.server_pid.map(Usage::of).transpose()
    }
}

fn sum(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}

fn compile(
    args: &FanoutArgs,
    server: &Server,
    plan: &Plan,
    tally: &Tally,
    published: &Published,
    measured: &Measured,
    busiest_thread: f64,
) -> Report {
    // Rates run over the time that was planned, or longer where the last one came later.
    let planned_ns = plan.schedule.end_ns() - plan.schedule.measured_from_ns();
    let seconds = |last_ns: u64| planned_ns.max(last_ns.saturating_sub(measured.from_ns)) as f64 / 1e9;
    let expected = published.expected;
    let mut warnings = Vec::new();
    if busiest_thread > BUSY_MAX {
        warnings.push(format!(
            "a thread of the load generator was busy {:.0}% of the time: it may have been the bottleneck",
            100.0 * busiest_thread
        ));
    }
    let troubles = tally.troubles.iter().chain(published.troubles.iter());
    Report {
        scenario: "fanout",
        config: report::Config {
            target: plan.target.name(),
            url: server.url.clone(),
            server: server.how.clone(),
            subscribers: plan.subscribers,
            topics: args.topics,
            publishers: plan.publishers,
            rate: args.rate,
            size_bytes: plan.size,
            duration_seconds: args.duration.as_secs_f64(),
            warmup_seconds: args.warmup.as_secs_f64(),
            threads: plan.threads,
        },
        published: report::Published {
            count: published.sent,
            per_second: published.sent as f64 / seconds(published.last_sent_ns),
            offered_per_second: plan.schedule.measured_count() as f64 / (planned_ns as f64 / 1e9),
            errors: published.errors,
        },
        delivered: tally.delivered,
        delivered_per_second: tally.delivered as f64 / seconds(tally.last_delivery_ns),
        lost: expected.saturating_sub(tally.delivered),
        duplicates: tally.duplicates,
        out_of_order: tally.out_of_order,
        gaps: tally.gaps,
        strays: tally.strays,
        disconnected: tally.disconnected,
        latency_seconds: Quantiles::of(&tally.latency),
        sent_late_seconds: Quantiles::of(&published.late),
        loadgen: OwnUsage { cpu_seconds: measured.own_cpu.as_secs_f64(), busiest_thread },
        server: server.pid.zip(measured.server).map(|(pid, usage)| server_usage(pid, usage, tally.delivered)),
        troubles: troubles.map(|(what, count)| Trouble { what: what.to_owned(), count }).collect(),
        warnings,
    }
}

fn server_usage(pid: u32, (before, after): (Usage, Usage), delivered: u64) -> ServerUsage {
    let user = after.user_seconds - before.user_seconds;
    let cpu_seconds = user + after.system_seconds - before.system_seconds;
    let each = |seconds: f64| (delivered > 0).then(|| seconds / delivered as f64);
    ServerUsage {
        pid,
        cpu_seconds,
        cpu_seconds_per_delivery: each(cpu_seconds),
        user_seconds_per_delivery: each(user),
        rss_bytes: after.rss_bytes,
    }
}
