//! The threads of a run: each with a runtime of its own, so that its connections never change threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

/// How far a run has come. The one who drives it says so, all threads follow.
///
/// Who follows may miss a phase that was short: wait for one *or a later one*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everybody connects and subscribes.
    Connecting,
    /// The schedule has a start.
    Running,
    /// The schedule runs, and the warm-up is over.
    Measuring,
    /// The subscribers are cut off that shall come back.
    Cut,
    /// The schedule is over; the last deliveries are under way.
    Draining,
    /// The stuck subscribers wake up and read.
    Waking,
    /// Say goodbye and report.
    Done,
}

/// How far a thread has come: a number that it alone counts up, and anybody may look at.
///
/// Alone on its cache line, so that threads which count do not disturb each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<CacheLine>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine(AtomicU64);

impl Counter {
    pub(crate) fn set(&self, count: u64) {
        self.0.0.store(count, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, count: u64) {
        self.set(self.get() + count);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A thread that will have a result.
#[derive(Debug)]
pub(crate) struct Thread<T> {
    name: String,
    result: oneshot::Receiver<anyhow::Result<ThreadOutcome<T>>>,
}

/// What a thread came to.
#[derive(Debug)]
pub(crate) struct ThreadOutcome<T> {
    pub(crate) result: T,
    /// Which share of the measured time it was on a processor, 0 to 1.
    pub(crate) busy: f64,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts a thread that runs `work` to its end; it must end soon after [`Phase::Done`], or when
    /// nobody drives the run any more.
    pub(crate) fn spawn<W>(
        name: String,
        phase: watch::Receiver<Phase>,
        work: impl FnOnce() -> W + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        W: Future<Output = anyhow::Result<T>>,
    {
        let (sender, result) = oneshot::channel();
        let run = move || -> anyhow::Result<ThreadOutcome<T>> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let both = async { tokio::try_join!(work(), busy(phase)) };
            let (result, busy) = LocalSet::new().block_on(&runtime, both)?;
            Ok(ThreadOutcome { result, busy })
        };
        // Nobody waits any more when the run has failed elsewhere.
        let report = move || drop(sender.send(run()));
        std::thread::Builder::new().name(name.clone()).spawn(report).context("cannot start a thread")?;
        Ok(Self { name, result })
    }

    /// Fails when the thread has ended already.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.result.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => Ok(()),
            Err(oneshot::error::TryRecvError::Closed) => Err(anyhow!("thread {} panicked", self.name)),
            Ok(Err(e)) => Err(e),
            Ok(Ok(_)) => Err(anyhow!("thread {} ended before its time", self.name)),
        }
    }

    /// Waits for the result.
    pub(crate) async fn join(self) -> anyhow::Result<ThreadOutcome<T>> {
        self.result.await.with_context(|| format!("thread {} panicked", self.name))?
    }
}

async fn busy(mut phase: watch::Receiver<Phase>) -> anyhow::Result<f64> {
    phase.wait_for(|phase| *phase >= Phase::Measuring).await.context("the run was given up")?;
    let (cpu, wall) = (thread_cpu_time(), Instant::now());
    phase.wait_for(|phase| *phase >= Phase::Draining).await.context("the run was given up")?;
    Ok((thread_cpu_time() - cpu).as_secs_f64() / wall.elapsed().as_secs_f64())
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
