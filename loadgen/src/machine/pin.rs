//! `--pin`: servers and load generator each have processors of their own, where there are enough.

use anyhow::ensure;

/// Which processors are whose, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinning {
    /// The servers'.
    pub servers: Vec<usize>,
    /// The load generator's: one core more, where they cannot be shared out evenly.
    pub own: Vec<usize>,
    /// Whether both have a share of one core, since there is but one.
    is_one_core: bool,
}

impl Pinning {
    /// Shares out processors, of which those of a core stand together: whole cores, where there are two.
    ///
    /// # Errors
    /// Says that there are too few.
    fn share_out(cores: &[Vec<usize>]) -> anyhow::Result<Self> {
        let count = cores.iter().map(Vec::len).sum::<usize>();
        ensure!(
            count >= 2,
            "--pin needs two processors at least, one for the servers and one for the load generator, and there is {count}"
        );
        let is_one_core = cores.len() == 1;
        let cores = if is_one_core { cores[0].iter().map(|n| vec![*n]).collect() } else { cores.to_vec() };
        let (servers, own) = cores.split_at(cores.len() / 2);
        Ok(Self { servers: servers.concat(), own: own.concat(), is_one_core })
    }

    /// The sentence that a report has of it.
    pub fn sentence(&self) -> String {
        let shared = if self.is_one_core { " (of the same core, the only one)" } else { "" };
        let (servers, own) = (list(&self.servers), list(&self.own));
        format!("servers on {servers}, load generator on {own}{shared}")
    }

    /// The sentence of it where no process of the server is known, so that it runs where it likes.
    pub(crate) fn sentence_of_own(&self) -> String {
        format!("load generator on {}, the server not pinned: its process is not known", list(&self.own))
    }

    /// Finds out whether the system lets it be.
    ///
    /// # Errors
    /// What the system says.
    pub fn check(&self) -> anyhow::Result<()> {
        self.start_server(|| Ok(()))
    }
}

fn list(processors: &[usize]) -> String {
    let numbers: Vec<String> = processors.iter().map(usize::to_string).collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("processor{plural} {}", numbers.join(", "))
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;

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
            let mut cores: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
            for n in (0..CpuSet::MAX_CPU).filter(|n| may.is_set(*n)) {
                // Where the system does not say, each is a core of its own.
                let core = topology(n, "core_id").unwrap_or(n as u64);
                let package = topology(n, "physical_package_id").unwrap_or_default();
                cores.entry((package, core)).or_default().push(n);
            }
            Self::share_out(&cores.into_values().collect::<Vec<_>>())
        }

        /// Pins this process, and what its threads start from now on, to the load generator's processors. It has threads
        /// already: those of the allocator.
        ///
        /// # Errors
        /// What the system says.
        pub(crate) fn pin_own(&self) -> anyhow::Result<()> {
            pin_all(&[std::process::id()], &set(&self.own))
        }

        /// Pins all threads of servers that run, and of what they have started. How many threads these have was
        /// their choice before.
        ///
        /// # Errors
        /// What the system says of a thread that is there.
        pub(crate) fn pin_servers(&self, pids: &[u32]) -> anyhow::Result<()> {
            pin_all(pids, &set(&self.servers))
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

    /// Pins all threads of processes, and of what they have started.
    fn pin_all(pids: &[u32], processors: &CpuSet) -> anyhow::Result<()> {
        // What one of them started before its turn came is where it was, and so is what that starts.
        while pin_those_there(pids, processors)? > 0 {}
        Ok(())
    }

    /// Pins those that are there now: how many were not.
    fn pin_those_there(pids: &[u32], processors: &CpuSet) -> anyhow::Result<usize> {
        let mut pinned = 0;
        for pid in Usage::family(pids) {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for thread in threads.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            {
                let before = sched_getaffinity(Some(thread)).ok();
                match sched_setaffinity(Some(thread), processors) {
                    // The system may leave fewer of them to it, and does so each time.
                    Ok(()) => pinned += usize::from(before != sched_getaffinity(Some(thread)).ok()),
                    // It has ended meanwhile.
                    Err(rustix::io::Errno::SRCH) => {}
                    Err(e) => return Err(e).with_context(|| format!("cannot pin process {pid}")),
                }
            }
        }
        Ok(pinned)
    }

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        processors.iter().for_each(|n| set.set(*n));
        set
    }

    fn topology(processor: usize, what: &str) -> Option<u64> {
        let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/{what}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
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
        let share_out = |cores: &[Vec<usize>]| Pinning::share_out(cores).expect("enough");
        let pinning = share_out(&[vec![0, 4], vec![1, 5], vec![2]]);
        assert_eq!((&pinning.servers[..], &pinning.own[..]), (&[0, 4][..], &[1, 5, 2][..]));
        assert_eq!(pinning.sentence(), "servers on processors 0, 4, load generator on processors 1, 5, 2");
        let two = share_out(&[vec![0], vec![1]]).sentence();
        assert_eq!(two, "servers on processor 0, load generator on processor 1");
        let known = share_out(&[vec![0], vec![1]]).sentence_of_own();
        assert_eq!(known, "load generator on processor 1, the server not pinned: its process is not known");
    }

    #[test]
    fn no_core_is_shared_where_there_are_two() {
        let pinning = Pinning::share_out(&[vec![0, 3], vec![1, 4], vec![2, 5]]).expect("enough");
        assert_eq!((pinning.servers, pinning.own), (vec![0, 3], vec![1, 4, 2, 5]));
        let one = Pinning::share_out(&[vec![0, 1]]).expect("enough").sentence();
        assert!(one.ends_with("load generator on processor 1 (of the same core, the only one)"), "{one}");
    }

    /// It starts a process that starts a process and so on, each while it may be about to be pinned.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_server_starts_while_it_is_pinned_is_pinned_too() {
        use std::os::unix::process::CommandExt as _;

        use rustix::process::{Pid, Signal, kill_process_group};
        use rustix::thread::sched_getaffinity;

        use crate::machine::process::Usage;

        // With one processor there is nothing to share out.
        let Ok(pinning) = Pinning::new() else { return };
        let script = "f() { if [ $1 -gt 1 ]; then f $(($1 - 1)) & fi; exec sleep 600; }; f 100";
        let mut server = std::process::Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .spawn()
            .expect("it starts");
        pinning.pin_servers(&[server.id()]).expect("they are ours");
        while Usage::family(&[server.id()]).len() < 100 {
            std::thread::yield_now();
        }
        let family = Usage::family(&[server.id()]);
        let processors_of = |pid: &u32| {
            let set = sched_getaffinity(Pid::from_raw(*pid as i32)).expect("it runs");
            (0..1024).filter(|n| set.is_set(*n)).collect::<Vec<usize>>()
        };
        let mut servers = pinning.servers;
        servers.sort_unstable();
        let elsewhere = family.iter().filter(|pid| processors_of(pid) != servers).count();
        kill_process_group(Pid::from_child(&server), Signal::KILL).expect("it runs");
        server.wait().expect("it has ended");
        assert_eq!((elsewhere, family.len()), (0, 100));
    }

    #[test]
    fn one_processor_cannot_be_shared_out() {
        let error = Pinning::share_out(&[vec![3]]).expect_err("too few").to_string();
        assert!(error.starts_with("--pin needs two processors") && error.ends_with("there is 1"), "{error}");
    }
}
