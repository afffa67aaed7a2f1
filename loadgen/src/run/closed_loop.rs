//! Runs without publications by a schedule: each worker does one thing after the other as fast as the broker lets it, or
//! keeps a schedule of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::load::plan::Plan;
use crate::load::worker::Worker;
use crate::machine::clock::now_ns;
use crate::machine::process::{Usage, own_cpu_time};
use crate::machine::thread::{Counter, Phase, Thread};
use crate::machine::watched::Watched;
use crate::report::unit::Unit;
use crate::run::progress::Bar;

/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(20);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct ClosedLoopOutcome<T> {
    /// The result of each thread.
    pub(crate) results: Vec<T>,
    /// How long was measured.
    pub(crate) measured: Duration,
    pub(crate) own_cpu: Duration,
    /// What the broker had used, before and after.
    pub(crate) server: Option<(Usage, Usage)>,
    /// When it ended, where it did: since it is measured.
    pub(crate) server_ended: Option<Duration>,
    /// Which share of the measured time the busiest thread was on a processor, 0 to 1.
    pub(crate) busiest_thread: f64,
}

/// Lets each of the plan's threads do `work`, for `warmup` and then for `duration`, which is measured.
///
/// # Errors
/// What `work` failed with before its time, or why the broker's processes cannot be measured.
pub(crate) async fn run<T, W>(
    plan: &Arc<Plan>,
    server_pids: &[u32],
    (warmup, duration): (Duration, Duration),
    quiet: bool,
    work: impl FnOnce(Worker) -> W + Clone + Send + 'static,
) -> anyhow::Result<ClosedLoopOutcome<T>>
where
    T: Send + 'static,
    W: Future<Output = anyhow::Result<T>>,
{
    let (phase, follower) = watch::channel(Phase::Connecting);
    let counters = || (0..plan.threads).map(|_| Counter::default()).collect::<Vec<_>>();
    let (ready, done) = (counters(), counters());
    let mut threads = Vec::new();
    for thread in 0..plan.threads {
        let (ready, done) = (ready[thread as usize].clone(), done[thread as usize].clone());
        let worker = Worker { plan: plan.clone(), thread, done, ready, phase: follower.clone() };
        let work = work.clone();
        threads.push(Thread::spawn(format!("worker-{thread}"), follower.clone(), move || work(worker))?);
    }
    let mut server = Watched::begin(server_pids)?;
    let sum = |counters: &[Counter]| counters.iter().map(Counter::get).sum::<u64>();

    while sum(&ready) < u64::from(plan.threads) {
        threads.iter_mut().try_for_each(Thread::check_alive)?;
        sleep(TICK).await;
    }
    phase.send_replace(Phase::Running);
    sleep(warmup).await;
    let (own_before, server_before) = (own_cpu_time(), server.as_mut().map(Watched::usage));
    phase.send_replace(Phase::Measuring);
    let (start, start_ns) = (Instant::now(), now_ns());
    let bar = Bar::running(duration, quiet);
    while start.elapsed() < duration {
        threads.iter_mut().try_for_each(Thread::check_alive)?;
        server.iter_mut().for_each(Watched::look);
        bar.ran(start.elapsed(), format!("{} done", Unit::Count.show(sum(&done) as f64)));
        sleep(TICK.min(duration.saturating_sub(start.elapsed()))).await;
    }
    phase.send_replace(Phase::Draining);
    let measured = start.elapsed();
    let own_cpu = own_cpu_time() - own_before;
    let usage = server_before.zip(server.as_mut().map(Watched::usage));
    let ended_ns = server.as_ref().and_then(Watched::ended_ns);
    let server_ended = ended_ns.map(|ended_ns| Duration::from_nanos(ended_ns.saturating_sub(start_ns)));
    let (mut results, mut busiest_thread) = (Vec::new(), 0.0_f64);
    for thread in threads {
        let finished = thread.join().await?;
        busiest_thread = busiest_thread.max(finished.busy);
        results.push(finished.result);
    }
    Ok(ClosedLoopOutcome { results, measured, own_cpu, server: usage, server_ended, busiest_thread })
}
