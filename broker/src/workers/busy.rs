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
    use std::sync::atomic::AtomicBool;

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

    #[test]
    fn a_thread_that_others_keep_from_its_core_is_busy_in_the_time_in_which_it_stands_in_line() {
        const IN_LINE: Duration = Duration::from_millis(20);
        // Elsewhere only the time that it has had counts.
        if std::fs::read_to_string("/proc/thread-self/schedstat").is_err() {
            return;
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..threads {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let began = Instant::now();
            let mut meter = Meter::new();
            let (had, in_line) = (thread_time(), time_in_line());
            while time_in_line() - in_line < IN_LINE && began.elapsed() < Duration::from_secs(10) {}
            let had = thread_time() - had;
            let busy = began.elapsed().mul_f64(meter.measure().0 / NEWEST);
            is_over.store(true, Ordering::Relaxed);
            assert!(busy >= had + IN_LINE / 2, "{busy:?} busy, of which it had a core for {had:?}");
        });
    }
}
