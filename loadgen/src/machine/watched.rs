//! The server's processes while they are measured: what they used last outlives them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::machine::clock::now_ns;
use crate::machine::process::Usage;

/// How often to note what they use, in case that they end.
const NOTE_EVERY: Duration = Duration::from_millis(100);

/// Processes that are measured, and may end while they are.
#[derive(Debug)]
pub(crate) struct Watched {
    pids: Vec<u32>,
    /// The processes, with what they had started when they were last measured in full.
    family: BTreeSet<u32>,
    last: Usage,
    last_ns: u64,
    ended_ns: Option<u64>,
}

impl Watched {
    /// Begins to watch; nothing where no process is known.
    ///
    /// # Errors
    /// Names the process that is not there.
    pub(crate) fn begin(pids: &[u32]) -> anyhow::Result<Option<Self>> {
        if pids.is_empty() {
            return Ok(None);
        }
        let family = Usage::family(pids);
        let last = Usage::of_family(&family, pids)?;
        Ok(Some(Self { pids: pids.to_vec(), family, last, last_ns: now_ns(), ended_ns: None }))
    }

    /// Looks whether they still run, and now and then at what they use.
    pub(crate) fn look(&mut self) {
        if self.ended_ns.is_none() && self.pids.iter().any(|pid| Usage::has_ended(*pid)) {
            self.ended_ns = Some(now_ns());
        }
        if now_ns() >= self.last_ns + NOTE_EVERY.as_nanos() as u64 {
            self.note();
        }
    }

    /// What they have used until now, or until shortly before they ended.
    pub(crate) fn usage(&mut self) -> Usage {
        self.family = Usage::family(&self.pids);
        self.note();
        self.last
    }

    /// When the first of them ended, on the clock of [`now_ns`].
    pub(crate) fn ended_ns(&self) -> Option<u64> {
        self.ended_ns
    }

    fn note(&mut self) {
        if self.ended_ns.is_some() {
            return;
        }
        self.last_ns = now_ns();
        match Usage::of_family(&self.family, &self.pids) {
            Ok(usage) => self.last = usage,
            Err(_) => self.ended_ns = Some(self.last_ns),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_used_is_known_after_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("it starts");
        let mut watched = Watched::begin(&[child.id()]).expect("it runs").expect("it is known");
        let before = watched.usage();
        assert!(before.rss_bytes > 0 && watched.ended_ns().is_none(), "{before:?}");
        child.kill().expect("it runs");
        // It has ended then, though nobody has asked how yet.
        while watched.ended_ns().is_none() {
            watched.look();
        }
        let rss_bytes = watched.usage().rss_bytes;
        child.wait().expect("it has ended");
        watched.look();
        assert_eq!((watched.usage().rss_bytes, rss_bytes), (before.rss_bytes, before.rss_bytes));
    }

    #[test]
    fn who_is_not_there_cannot_be_watched_and_nobody_needs_not_be() {
        let error = Watched::begin(&[u32::MAX]).expect_err("no such process");
        assert!(error.to_string().contains("/proc/4294967295/stat"), "{error}");
        assert!(Watched::begin(&[]).expect("nothing to watch").is_none());
    }
}
