//! What processes use of the machine.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far.
pub(crate) fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What some processes and all that descend from them have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time in their own code, in seconds, to about 10 ms.
    pub(crate) user_seconds: f64,
    /// Processor time in the kernel, in seconds, to about 10 ms.
    pub(crate) system_seconds: f64,
    /// Memory they hold now, shared pages counted for each.
    pub(crate) rss_bytes: u64,
    /// How much of that is their own: neither files nor shared memory.
    pub(crate) anonymous_bytes: u64,
    /// How many there are.
    pub(crate) processes: u32,
}

impl Usage {
    /// The usage of the processes `pids` and their descendants, from Linux's `/proc`. This process and its
    /// own descendants are left out, unless they are named.
    ///
    /// # Errors
    /// Names the process of `pids` that is not there.
    pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        Self::of_family(&Self::family(pids), pids)
    }

    /// `pids` and their descendants now, without this process and its own.
    pub(crate) fn family(pids: &[u32]) -> BTreeSet<u32> {
        family(pids, &parents(), std::process::id())
    }

    /// Whether a process no longer runs, though it may wait for somebody to ask how it ended.
    pub(crate) fn has_ended(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        fields(&stat).is_none_or(|fields| matches!(fields.first(), None | Some(&("Z" | "X"))))
    }

    /// The usage of a family, of which `pids` must be there.
    ///
    /// # Errors
    /// Names the process of `pids` that is not there.
    pub(crate) fn of_family(family: &BTreeSet<u32>, pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for &pid in family {
            match Self::of_one(pid) {
                Ok(usage) => sum.add(&usage),
                Err(e) if pids.contains(&pid) => return Err(e),
                // A descendant that has ended meanwhile; what it used is counted with its parent.
                Err(_) => {}
            }
        }
        Ok(sum)
    }

    /// Processor time in all, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    fn of_one(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mut usage = Self::parse(&stat).with_context(|| format!("cannot understand {path}"))?;
        usage.anonymous_bytes = anonymous_bytes(&status).unwrap_or_default();
        Ok(usage)
    }

    fn parse(stat: &str) -> Option<Self> {
        let fields = fields(stat)?;
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        Some(Self {
            // With the children that have ended, so that the sum of a family never shrinks.
            user_seconds: seconds(field(14)? + field(16)?),
            system_seconds: seconds(field(15)? + field(17)?),
            rss_bytes: field(24)? * page_size() as u64,
            anonymous_bytes: 0,
            processes: 1,
        })
    }

    fn add(&mut self, other: &Self) {
        self.user_seconds += other.user_seconds;
        self.system_seconds += other.system_seconds;
        self.rss_bytes += other.rss_bytes;
        self.anonymous_bytes += other.anonymous_bytes;
        self.processes += other.processes;
    }
}

/// The fields of `/proc/PID/stat` from number 3 on: the name before stands in parentheses and may hold
/// anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()? * 1024)
}

/// The parent of each process that runs now.
fn parents() -> HashMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        fields(&stat)?.get(1)?.parse().ok()
    };
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// `pids` and those that descend from them without descending from `own`.
fn family(pids: &[u32], parents: &HashMap<u32, u32>, own: u32) -> BTreeSet<u32> {
    let mut family: BTreeSet<u32> = pids.iter().copied().collect();
    loop {
        let belongs =
            |(pid, parent): &(&u32, &u32)| **pid != own && **parent != own && family.contains(parent);
        let found: Vec<u32> = parents.iter().filter(belongs).map(|(pid, _)| *pid).collect();
        let before = family.len();
        family.extend(found);
        if family.len() == before {
            return family;
        }
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
        assert_eq!(usage.user_seconds, 157.0 * tick);
        assert_eq!(usage.system_seconds, 58.0 * tick);
        assert_eq!(usage.rss_bytes, 25 * page_size() as u64);
        assert_eq!(Usage::parse("12 (a) S 1"), None);
    }

    #[test]
    fn anonymous_memory_is_told_apart_from_files() {
        let status = "Name:\tx\nVmRSS:\t    3000 kB\nRssAnon:\t     1200 kB\nRssFile:\t    1800 kB\n";
        assert_eq!(anonymous_bytes(status), Some(1200 * 1024));
        assert_eq!(anonymous_bytes("Name:\tx\n"), None);
        let own = Usage::of(&[std::process::id()]).expect("this one runs");
        assert!(own.anonymous_bytes > 0 && own.anonymous_bytes < own.rss_bytes, "{own:?}");
    }

    #[test]
    fn descendants_are_counted_and_the_load_generator_is_not() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 2), (8, 7)]);
        assert_eq!(family(&[2], &parents, 7), BTreeSet::from([2, 3, 4]));
        assert_eq!(family(&[3, 4, 6], &parents, 7), BTreeSet::from([3, 4, 6]));
        assert_eq!(family(&[7], &parents, 7), BTreeSet::from([7]), "named, but not what it has started");
    }

    #[test]
    fn a_process_can_be_measured_and_a_missing_one_is_named() {
        assert!(Usage::of(&[std::process::id()]).expect("this one runs").rss_bytes > 100_000);
        let error = Usage::of(&[u32::MAX]).expect_err("no such process");
        assert!(error.to_string().contains("/proc/4294967295/stat"), "{error}");
    }
}
