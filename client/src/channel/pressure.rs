//! How the readers of a client slow its driver down, for a bounded time, before anything of theirs is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the driver may read nothing because readers have no room, while they go on reading, ...
const HELD_MAX: Duration = Duration::from_secs(2);
/// ... and after how many times as much time it may do so again. A reader that is too slow for its topic costs the
/// others no more than a quarter of their time.
const PAUSE_FACTOR: u32 = 3;
/// How long one that reads nothing at all is waited for.
const STANDSTILL_MAX: Duration = Duration::from_millis(100);
/// The time between two looks counts as no more than this, while the driver waits: on a machine that has no time for the
/// driver the reader had none either.
const LOOK: Duration = Duration::from_millis(20);
/// Less than this is not worth a pause.
const HELD_MIN: Duration = Duration::from_millis(10);

/// What the queues of a client say to its driver.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Some queue is half full: its reader should have a turn.
    is_felt: AtomicBool,
    /// Whether some queue is waited for.
    is_full: AtomicBool,
    full: Mutex<Full>,
    /// Goes up while a reader that is waited for reads.
    progress: AtomicU64,
    relief: Notify,
}

/// The queues that are waited for: each from when it is full until it is half empty, or all are given up.
#[derive(Debug, Default)]
struct Full {
    count: usize,
    /// Goes up when those that are full are given up: they count no longer.
    generation: u64,
}

impl Pressure {
    pub(crate) fn feel(&self) {
        self.is_felt.store(true, Ordering::Relaxed);
    }

    /// Whether some reader should have a turn; asked once.
    pub(crate) fn take_felt(&self) -> bool {
        self.is_felt.load(Ordering::Relaxed) && self.is_felt.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_felt(&self) -> bool {
        self.is_felt.load(Ordering::Relaxed)
    }

    fn full(&self) -> MutexGuard<'_, Full> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more queue is full. Returns what it is [relieved](Self::relieve) with.
    pub(crate) fn fill(&self) -> u64 {
        let mut full = self.full();
        full.count += 1;
        self.is_full.store(true, Ordering::Release);
        full.generation
    }

    /// One of them has room again.
    pub(crate) fn relieve(&self, generation: u64) {
        let mut full = self.full();
        if full.generation == generation {
            full.count -= 1;
            if full.count == 0 {
                self.is_full.store(false, Ordering::Release);
                self.relief.notify_one();
            }
        }
    }

    /// A reader that is waited for has read.
    pub(crate) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether those that were full then are waited for no longer.
    pub(crate) fn has_given_up(&self, generation: u64) -> bool {
        self.full().generation != generation
    }

    /// Those that are full are waited for no longer.
    pub(crate) fn give_up(&self) {
        let mut full = self.full();
        full.count = 0;
        full.generation += 1;
        self.is_full.store(false, Ordering::Release);
    }

    /// Whether some queue is full and waited for.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Waits until no queue is full; may return early.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn relieved(&self) {
        self.relief.notified().await;
    }
}

/// How long the driver may still hold back reading.
#[derive(Debug)]
pub(crate) struct Patience {
    left: Duration,
    /// As of when.
    at: Instant,
    holding: bool,
    /// The progress last seen, and how long nothing was read since.
    progress: (u64, Duration),
}

impl Patience {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { left: HELD_MAX, at: now, holding: false, progress: (0, Duration::ZERO) }
    }

    /// Whether to read nothing now, and if so until when at most.
    pub(crate) fn hold(&mut self, pressure: &Pressure) -> Option<Instant> {
        let is_full = pressure.is_full();
        if !is_full && !self.holding && self.left == HELD_MAX {
            // The clock need not be looked at.
            return None;
        }
        let now = Instant::now();
        let passed = now.duration_since(self.at);
        let held = passed.min(LOOK);
        self.left = match self.holding {
            true => self.left.saturating_sub(held),
            false => (self.left + passed / PAUSE_FACTOR).min(HELD_MAX),
        };
        self.at = now;
        let progress = pressure.progress.load(Ordering::Relaxed);
        let stood_still = match self.holding && progress == self.progress.0 {
            true => self.progress.1 + held,
            false => Duration::ZERO,
        };
        self.progress = (progress, stood_still);
        let least = if self.holding { Duration::from_nanos(1) } else { HELD_MIN };
        self.holding = is_full && self.left >= least && stood_still < STANDSTILL_MAX;
        if is_full && !self.holding {
            pressure.give_up();
        }
        self.holding.then(|| now + LOOK.min(self.left).min(STANDSTILL_MAX - stood_still))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_nothing_is_waited_for_a_moment() {
        let (pressure, mut patience) = (Pressure::default(), Patience::new());
        let mut hold = |pressure: &Pressure| patience.hold(pressure).map(|until| until - Instant::now());
        assert_eq!(hold(&pressure), None);
        let first = pressure.fill();
        for _ in 0..STANDSTILL_MAX.as_millis() / LOOK.as_millis() {
            assert_eq!(hold(&pressure), Some(LOOK));
            tokio::time::advance(LOOK).await;
        }
        assert_eq!(hold(&pressure), None, "that was all");
        assert!(!pressure.is_full(), "whoever was full is given up");
        pressure.relieve(first);
        tokio::time::advance(MS(1)).await;
        let second = pressure.fill();
        assert_eq!(hold(&pressure), Some(LOOK), "the next one has its moment");
        pressure.relieve(second);
        assert_eq!(hold(&pressure), None, "relieved");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_driver_did_not_run_counts_against_no_reader() {
        let (pressure, mut patience) = (Pressure::default(), Patience::new());
        pressure.fill();
        assert!(patience.hold(&pressure).is_some());
        for _ in 0..4 {
            tokio::time::advance(10 * HELD_MAX).await;
            assert!(patience.hold(&pressure).is_some(), "nobody had a turn");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_on_reading_is_waited_for_longer_and_a_quarter_of_the_time_at_most() {
        let (pressure, mut patience) = (Pressure::default(), Patience::new());
        let began = Instant::now();
        let mut held = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(100) {
            // Slow, and never at rest.
            pressure.progress();
            if !pressure.is_full() {
                pressure.fill();
            }
            let holds = patience.hold(&pressure).is_some();
            if began.elapsed() < HELD_MAX {
                assert!(holds, "a burst, after {:?}", began.elapsed());
            }
            tokio::time::advance(MS(1)).await;
            held += if holds { MS(1) } else { Duration::ZERO };
        }
        assert!((20..30).contains(&held.as_secs()), "{held:?} of 100 s");
    }
}
