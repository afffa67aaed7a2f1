//! The one clock of a run: nanoseconds since the process first asked, and a sleep that is exact to it.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since the first call in this process, from the monotonic clock.
///
/// All threads share the origin, so that a time stamped by a publisher can be held against one read by
/// a subscriber.
pub(crate) fn now_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Sleeps to the nearest tens of microseconds, where tokio's own timers count whole milliseconds: at
/// 1,000 publications a second those would be most of the latency that is measured.
#[derive(Debug)]
pub(crate) struct Timer {
    #[cfg(target_os = "linux")]
    fd: tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer of the current runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(deprecated, reason = "its successor is unsafe, and an `OwnedFd` keeps the promise it wants")]
        let fd = tokio::io::unix::AsyncFd::new(fd)?;
        Ok(Self { fd })
    }

    /// Returns when [`now_ns`] has passed `due_ns`. Cancel safe.
    pub(crate) async fn sleep_until(&self, due_ns: u64) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let left = due_ns.saturating_sub(now_ns());
            if left == 0 {
                return Ok(());
            }
            let left =
                Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
            let once = Itimerspec { it_interval: zero, it_value: left };
            timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            let mut ready = self.fd.readable().await?;
            // How often it fired is of no interest; reading it makes it unreadable again.
            match rustix::io::read(self.fd.get_ref(), &mut [0; 8]) {
                Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// A timer of the current runtime; here it counts whole milliseconds.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Returns when [`now_ns`] has passed `due_ns`. Cancel safe.
    pub(crate) async fn sleep_until(&self, due_ns: u64) -> std::io::Result<()> {
        let left = due_ns.saturating_sub(now_ns());
        tokio::time::sleep(std::time::Duration::from_nanos(left)).await;
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_never_ends_early_and_at_best_within_the_millisecond() {
        let timer = Timer::new().expect("a timer");
        let mut late: Vec<u64> = Vec::new();
        for _ in 0..21 {
            let due = now_ns() + 300_000;
            timer.sleep_until(due).await.expect("sleeps");
            late.push(now_ns().checked_sub(due).expect("never early"));
        }
        let best = late.into_iter().min().expect("there are some");
        assert!(best < 1_000_000, "all sleeps ended {best} ns late or more");
    }
}
