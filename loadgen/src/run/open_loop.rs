//! A run under way: threads that are started, driven through their phases, and heard in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::load::aftermath::{AFTERMATH, AFTERMATH_SUSPICIOUS};
use crate::load::plan::Plan;
use crate::load::publisher::{self, ScheduleOutcome};
use crate::load::subscriber::{self, Group};
use crate::load::tally::Tally;
use crate::machine::clock::now_ns;
use crate::machine::process::{Usage, own_cpu_time};
use crate::machine::thread::{Counter, Phase, Thread};
use crate::machine::watched::Watched;
use crate::report::unit::Unit;
use crate::run::progress::Bar;

/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(20);
/// The time from when everybody is subscribed to the first publication; longer where no reply confirms it.
const PAUSE_CONFIRMED: Duration = Duration::from_millis(20);
const PAUSE_UNCONFIRMED: Duration = Duration::from_millis(200);
/// A run under way.
pub(crate) struct Run {
    plan: Arc<Plan>,
    server: Option<Watched>,
    quiet: bool,
    phase: watch::Sender<Phase>,
    readers: Vec<Thread<Tally>>,
    publisher: Thread<ScheduleOutcome>,
    subscribed: Vec<Counter>,
    delivered: Vec<Counter>,
    suspicious: Vec<Counter>,
    slowest_ns: Vec<Counter>,
    woken: Vec<Counter>,
    /// When all were cut off.
    cut_ns: Counter,
    /// How often to look at the server's memory, and what was seen.
    sampling: Option<Sampling>,
    publishing: publisher::Progress,
}

/// The server's own memory over time.
struct Sampling {
    every: Duration,
    /// When to look next.
    next_ns: u64,
    /// The samples: seconds since the first measured publication, and bytes.
    samples: Vec<(f64, u64)>,
}

/// What was used between the first measured publication and the last delivery.
pub(crate) struct Measured {
    pub(crate) own_cpu: Duration,
    /// How long that took.
    pub(crate) wall: Duration,
    /// What the broker had used, before and after.
    pub(crate) server: Option<(Usage, Usage)>,
    /// When it ended, where it did: since the first measured publication was due.
    pub(crate) server_ended: Option<Duration>,
    /// When the first measured publication was due.
    pub(crate) from_ns: u64,
    /// The server's own memory, where it was [sampled](Run::sample_memory).
    pub(crate) samples: Vec<(f64, u64)>,
}

/// What all threads together have seen.
pub(crate) struct OpenLoopOutcome {
    pub(crate) tally: Tally,
    pub(crate) published: ScheduleOutcome,
    /// Which share of the measured time the busiest thread was on a processor, 0 to 1.
    pub(crate) busiest_thread: f64,
}

impl Run {
    /// Starts all threads, which begin to connect.
    ///
    /// # Errors
    /// Which of the server's processes is not there, or why there can be no threads.
    pub(crate) fn start(plan: Arc<Plan>, server_pids: &[u32], quiet: bool) -> anyhow::Result<Self> {
        let server = Watched::begin(server_pids)?;
        let (phase, follower) = watch::channel(Phase::Connecting);
        let counters = || (0..plan.threads).map(|_| Counter::default()).collect::<Vec<_>>();
        let (subscribed, delivered, woken) = (counters(), counters(), counters());
        let (suspicious, slowest_ns) = (counters(), counters());
        let cut_ns = Counter::default();
        let publishing = publisher::Progress::default();
        let mut readers = Vec::new();
        for thread in 0..plan.threads {
            let own = |counters: &[Counter]| counters[thread as usize].clone();
            let group = Group {
                plan: plan.clone(),
                thread,
                subscribed: own(&subscribed),
                delivered: own(&delivered),
                suspicious: own(&suspicious),
                slowest_ns: own(&slowest_ns),
                woken: own(&woken),
                start_ns: publishing.start_ns.clone(),
                cut_ns: cut_ns.clone(),
            };
            let phase = follower.clone();
            let work = move || subscriber::run(group, phase);
            readers.push(Thread::spawn(format!("reader-{thread}"), follower.clone(), work)?);
        }
        let work = {
            let (plan, publishing, phase) = (plan.clone(), publishing.clone(), follower.clone());
            move || publisher::run(plan, publishing, phase)
        };
        let publisher = Thread::spawn("publisher".into(), follower, work)?;
        Ok(Self {
            plan,
            server,
            quiet,
            phase,
            readers,
            publisher,
            subscribed,
            delivered,
            suspicious,
            slowest_ns,
            woken,
            cut_ns,
            sampling: None,
            publishing,
        })
    }

    /// Looks at the server's memory so often while the schedule runs, where its process is known.
    pub(crate) fn sample_memory(&mut self, every: Duration) {
        let sampling = Sampling { every, next_ns: 0, samples: Vec::new() };
        self.sampling = self.server.is_some().then_some(sampling);
    }

    /// Waits until everybody is connected and subscribed.
    pub(crate) async fn connect(&mut self) -> anyhow::Result<()> {
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
    pub(crate) async fn follow_schedule(&mut self, grace: Duration) -> anyhow::Result<Measured> {
        let plan = self.plan.clone();
        let start_ns = now_ns() + 5_000_000;
        let (from_ns, end_ns) =
            (start_ns + plan.schedule.measured_from_ns(), start_ns + plan.schedule.end_ns());
        let bar = Bar::running(Duration::from_nanos(end_ns - start_ns), self.quiet);
        self.publishing.start_ns.set(start_ns);
        self.phase.send_replace(Phase::Running);
        self.wait_until(from_ns, start_ns, &bar).await?;
        self.phase.send_replace(Phase::Measuring);
        let (own_before, server_before, before_ns) = (own_cpu_time(), self.server_usage(), now_ns());
        if let Some(sampling) = &mut self.sampling {
            sampling.next_ns = from_ns;
        }
        if let Some(cut_after) = plan.cut_after {
            self.wait_until(from_ns + cut_after.as_nanos() as u64, start_ns, &bar).await?;
            self.cut_ns.set(now_ns());
            self.phase.send_replace(Phase::Cut);
        }
        self.wait_until(end_ns, start_ns, &bar).await?;
        self.phase.send_replace(Phase::Draining);
        let last_ns = end_ns + grace.as_nanos() as u64;
        while now_ns() < last_ns && !self.is_complete() && !self.has_server_ended() {
            self.check_alive()?;
            sleep(Duration::from_millis(1)).await;
        }
        sleep(AFTERMATH).await;
        let own_cpu = own_cpu_time() - own_before;
        let wall = Duration::from_nanos(now_ns() - before_ns);
        let samples = self.sampling.take().map_or_else(Vec::new, |sampling| sampling.samples);
        let server = server_before.zip(self.server_usage());
        let ended_ns = self.server.as_ref().and_then(Watched::ended_ns);
        let server_ended = ended_ns.map(|ended_ns| Duration::from_nanos(ended_ns.saturating_sub(from_ns)));
        let measured = Measured { own_cpu, wall, server, server_ended, from_ns, samples };
        let end_ns = end_ns + self.aftermath_ns();
        sleep(Duration::from_nanos(end_ns.saturating_sub(now_ns()))).await;
        Ok(measured)
    }

    /// How long after the last publication was due something may still come twice: as long as the slowest
    /// delivery took, or longer where that has happened.
    fn aftermath_ns(&self) -> u64 {
        let most = AFTERMATH_SUSPICIOUS.as_nanos() as u64;
        let slowest = self.slowest_ns.iter().map(Counter::get).max().unwrap_or_default();
        if sum(&self.suspicious) > 0 { most } else { slowest.min(most) }
    }

    /// Wakes the stuck subscribers and waits until they have read all there is, or no more comes.
    pub(crate) async fn wake(&mut self) -> anyhow::Result<()> {
        self.phase.send_replace(Phase::Waking);
        while sum(&self.woken) < u64::from(self.plan.stuck) {
            self.check_alive()?;
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Ends all threads and adds up what they have seen.
    pub(crate) async fn finish(self) -> anyhow::Result<OpenLoopOutcome> {
        self.phase.send_replace(Phase::Done);
        let (mut tally, mut busiest) = (Tally::new(), 0.0_f64);
        for reader in self.readers {
            let finished = reader.join().await?;
            busiest = busiest.max(finished.busy);
            tally.add(&finished.result);
        }
        let published = self.publisher.join().await?;
        Ok(OpenLoopOutcome {
            tally,
            published: published.result,
            busiest_thread: busiest.max(published.busy),
        })
    }

    async fn wait_until(&mut self, time_ns: u64, start_ns: u64, bar: &Bar) -> anyhow::Result<()> {
        loop {
            let now = now_ns();
            if now >= time_ns {
                return Ok(());
            }
            self.check_alive()?;
            self.sample(now);
            let delivered = Unit::Count.show(sum(&self.delivered) as f64);
            bar.ran(Duration::from_nanos(now.saturating_sub(start_ns)), format!("{delivered} delivered"));
            sleep(TICK.min(Duration::from_nanos(time_ns - now))).await;
        }
    }

    fn sample(&mut self, now: u64) {
        let Some(server) = &mut self.server else { return };
        server.look();
        let Some(Sampling { every, next_ns, samples }) = &mut self.sampling else { return };
        if *next_ns > 0 && now >= *next_ns && server.ended_ns().is_none() {
            let from_ns = *next_ns - samples.len() as u64 * every.as_nanos() as u64;
            samples.push((now.saturating_sub(from_ns) as f64 / 1e9, server.usage().anonymous_bytes));
            *next_ns += every.as_nanos() as u64;
        }
    }

    fn has_server_ended(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| {
            server.look();
            server.ended_ns().is_some()
        })
    }

    /// Whether all has been published and delivered.
    fn is_complete(&self) -> bool {
        self.publishing.finished.get() == 1 && sum(&self.delivered) >= self.publishing.expected.get()
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        self.readers.iter_mut().try_for_each(Thread::check_alive)?;
        self.publisher.check_alive()
    }

    fn server_usage(&mut self) -> Option<Usage> {
        self.server.as_mut().map(Watched::usage)
    }
}

fn sum(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}
