//! What processes use of the machine.

use std::time::Duration;

use anyhow::Context as _;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far.
pub(crate) fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Processor time in its own code, in seconds, to about 10 ms.
    pub(crate) user_seconds: f64,
    /// Processor time in the kernel, in seconds, to about 10 ms.
    pub(crate) system_seconds: f64,
    /// Memory it holds now.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// Of the process `pid`, from Linux's `/proc`.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&stat).with_context(|| format!("cannot understand {path}"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name stands in parentheses and may hold anything; field 3 follows it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        Some(Self {
            user_seconds: seconds(field(14)?),
            system_seconds: seconds(field(15)?),
            rss_bytes: field(24)? * page_size() as u64,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_from_behind_the_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 3 0 99 1000000 25 1844 1 1";
        let usage = Usage::parse(stat).expect("well-formed");
        let tick = 1.0 / clock_ticks_per_second() as f64;
        assert_eq!(usage.user_seconds, 150.0 * tick);
        assert_eq!(usage.system_seconds, 50.0 * tick);
        assert_eq!(usage.rss_bytes, 25 * page_size() as u64);
        assert_eq!(Usage::parse("12 (a) S 1"), None);
    }

    #[test]
    fn a_process_can_be_measured_and_a_missing_one_is_named() {
        assert!(Usage::of(std::process::id()).expect("this one runs").rss_bytes > 100_000);
        let error = Usage::of(u32::MAX).expect_err("no such process");
        assert!(error.to_string().contains("/proc/4294967295/stat"), "{error}");
    }
}
