//! `--pin`: servers and load generator each have processors of their own, where there are enough.

use anyhow::ensure;

/// Which processors are whose, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinning {
    /// The servers'.
    pub servers: Vec<usize>,
    /// The load generator's: one more, where they cannot be shared out evenly.
    pub own: Vec<usize>,
}

impl Pinning {
    /// Shares out processors that stand in an order in which those of one core are neighbours.
    ///
    /// # Errors
    /// Says that there are too few.
    fn share_out(processors: &[usize]) -> anyhow::Result<Self> {
        let count = processors.len();
        ensure!(
            count >= 2,
            "--pin needs two processors at least, one for the servers and one for the load generator, and there is {count}"
        );
        let (servers, own) = processors.split_at(count / 2);
        Ok(Self { servers: servers.to_vec(), own: own.to_vec() })
    }

    /// The sentence that a report has of it.
    pub(crate) fn sentence(&self) -> String {
        let list = |processors: &[usize]| {
            let numbers: Vec<String> = processors.iter().map(usize::to_string).collect();
            let plural = if numbers.len() == 1 { "" } else { "s" };
            format!("processor{plural} {}", numbers.join(", "))
        };
        format!("servers on {}, load generator on {}", list(&self.servers), list(&self.own))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use anyhow::Context as _;
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::Pinning;
    use crate::machine::process::Usage;

    impl Pinning {
        /// A share of the processors that this thread may run on for each side.
        ///
        /// # Errors
        /// Says that there are too few.
        pub fn new() -> anyhow::Result<Self> {
            let may = sched_getaffinity(None).context("cannot ask for processors")?;
            let mut processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| may.is_set(*n)).collect();
            processors.sort_by_key(|n| (topology(*n, "physical_package_id"), topology(*n, "core_id"), *n));
            Self::share_out(&processors)
        }

        /// Pins this thread, and those that it starts from now on, to the load generator's processors.
        ///
        /// # Errors
        /// What the system says.
        pub(crate) fn pin_own(&self) -> anyhow::Result<()> {
            sched_setaffinity(None, &set(&self.own)).context("cannot pin this thread")
        }

        /// Pins all threads of servers that run, and of what they have started. How many threads these have was
        /// their choice before.
        ///
        /// # Errors
        /// What the system says of a thread that is there.
        pub(crate) fn pin_servers(&self, pids: &[u32]) -> anyhow::Result<()> {
            for pid in Usage::family(pids) {
                let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
                for thread in threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
                    match sched_setaffinity(Pid::from_raw(thread), &set(&self.servers)) {
                        // It has ended meanwhile.
                        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                        Err(e) => return Err(e).with_context(|| format!("cannot pin process {pid}")),
                    }
                }
            }
            Ok(())
        }

        /// Starts a server, which then has its processors from the first moment and can count them.
        ///
        /// # Errors
        /// What `start` says, or the system where this thread cannot be pinned.
        pub fn start_server<T>(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
            let before = sched_getaffinity(None).context("cannot ask for processors")?;
            sched_setaffinity(None, &set(&self.servers)).context("cannot pin this thread")?;
            let started = start();
            sched_setaffinity(None, &before).context("cannot pin this thread")?;
            started
        }
    }

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        processors.iter().for_each(|n| set.set(*n));
        set
    }

    fn topology(processor: usize, what: &str) -> u64 {
        let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/{what}");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }
}

#[cfg(not(target_os = "linux"))]
impl Pinning {
    /// # Errors
    /// Always: it is not known how to do that here.
    pub fn new() -> anyhow::Result<Self> {
        anyhow::bail!("--pin is for Linux alone")
    }

    pub(crate) fn pin_own(&self) -> anyhow::Result<()> {
        Ok(())
    }

    pub(crate) fn pin_servers(&self, _: &[u32]) -> anyhow::Result<()> {
        Ok(())
    }

    pub fn start_server<T>(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_load_generator_have_no_processor_in_common() {
        let pinning = Pinning::share_out(&[0, 4, 1, 5, 2]).expect("enough");
        assert_eq!(pinning, Pinning { servers: vec![0, 4], own: vec![1, 5, 2] });
        assert_eq!(pinning.sentence(), "servers on processors 0, 4, load generator on processors 1, 5, 2");
        let two = Pinning::share_out(&[0, 1]).expect("enough").sentence();
        assert_eq!(two, "servers on processor 0, load generator on processor 1");
    }

    #[test]
    fn one_processor_cannot_be_shared_out() {
        let error = Pinning::share_out(&[3]).expect_err("too few").to_string();
        assert!(error.starts_with("--pin needs two processors") && error.ends_with("there is 1"), "{error}");
    }
}
