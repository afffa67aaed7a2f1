//! How busy a worker is: the share of the time in which its thread has had a core of late, or stood in line for one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The weight of the newest measurement: of one every 50 ms, the last quarter of a second counts.
const NEWEST: f64 = 0.2;

/// A worker's share of the time, as others see it.
#[derive(Debug, Default)]
pub(crate) struct Busy(AtomicU32);

impl Busy {
    /// The share, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed)) / 1e6
    }

    /// Sets the share.
    pub(crate) fn set(&self, share: f64) {
        self.0.store((share * 1e6) as u32, Ordering::Relaxed);
    }
}

/// Measures the share of the thread on which it is asked. Where others keep it from its core it is busy all the same: two threads
/// get more of a core that is contended than one does. Where the system does not say how long it stood in line (Linux does),
/// the time that it has had counts alone.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Time in which the thread has had a core, or stood in line for one.
    wanted: Duration,
    at: Instant,
    share: f64,
}

impl Meter {
    /// A meter for the thread at hand.
    pub(crate) fn new() -> Self {
        Self { wanted: thread_time() + time_in_line(), at: Instant::now(), share: 0.0 }
    }

    /// The share of late, from 0 to 1, and the processor time that the thread has had in all.
    pub(crate) fn measure(&mut self) -> (f64, Duration) {
        let (had, now) = (thread_time(), Instant::now());
        let wanted = had + time_in_line();
        let passed = now.duration_since(self.at).as_secs_f64();
        if passed > 0.0 {
            let share = (wanted.saturating_sub(self.wanted).as_secs_f64() / passed).min(1.0);
            self.share += NEWEST * (share - self.share);
        }
        (self.wanted, self.at) = (wanted, now);
        (self.share, had)
    }
}

/// The time for which the thread at hand has stood in line for a core: the second figure of its
/// [schedstat](https://docs.kernel.org/scheduler/sched-stats.html), in nanoseconds.
fn time_in_line() -> Duration {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let in_line = figures.split(' ').nth(1).and_then(|figure| figure.parse().ok());
    Duration::from_nanos(in_line.unwrap_or(0))
}

/// Processor time that the thread at hand has had.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_busy_and_one_that_waits_is_not() {
        let mut meter = Meter::new();
        let began = thread_time();
        // By the thread's own time, however few of it a busy machine gives.
        while thread_time() - began < Duration::from_millis(20) {}
        let (busy, had) = meter.measure();
        assert!(busy > 0.0 && had >= Duration::from_millis(20));
        // Time passes in which this thread has nothing to do.
        drop(
            std::thread::spawn(|| {
                let began = thread_time();
                while thread_time() - began < Duration::from_millis(50) {}
            })
            .join(),
        );
        assert!(meter.measure().0 < busy, "it forgets");
    }
}
