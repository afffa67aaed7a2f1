//! Watches what must not end while the broker runs. What ends here is never silent.
//!
//! There are three kinds. A connection's task may end, also by a panic: that costs its own peer alone, and
//! `Admitted` counts it. A task that only carries something (it accepts sockets, it
//! answers an operator) begins anew. Any other holds what all rely on (a round's batches, the topics, the
//! deadlines), and after a panic in its midst nobody knows what of it still holds: the process ends, and
//! whoever started it starts it again. Clients come back to a new epoch, which they are told of; a broker that
//! accepts and no longer delivers would lose without a word.

pub(crate) mod panics;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use panics::Panics;

/// The `target` of the line that is the last one before the process aborts. A log that is written elsewhere has
/// to wait for it.
pub const LAST_WORDS: &str = "fanfare::last_words";

/// How long what has ended rests before it begins anew.
const REST: Duration = Duration::from_millis(100);

/// Runs a task that must not end before `end` is cancelled, and must never panic: then the process aborts.
///
/// # Cancel safety
/// As cancel safe as the task: dropped with it, nothing is said.
pub(crate) async fn vital(name: &'static str, end: &CancellationToken, task: impl Future<Output = ()>) {
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    judge(name, end, ended.is_err());
}

/// Runs what a thread runs and must not end before `end` is cancelled, nor panic: then the process aborts.
pub(crate) fn vital_thread(name: &'static str, end: &CancellationToken, run: impl FnOnce()) {
    let ended = catch_unwind(AssertUnwindSafe(run));
    judge(name, end, ended.is_err());
}

/// Runs a task until `end` is cancelled: if it ends before that, it begins anew.
///
/// # Cancel safety
/// As cancel safe as the task.
pub(crate) async fn restarted<T: Future<Output = ()>>(
    name: &'static str,
    panics: &Panics,
    end: &CancellationToken,
    mut begin: impl FnMut() -> T,
) {
    loop {
        let ended = AssertUnwindSafe(begin()).catch_unwind().await;
        if end.is_cancelled() {
            return;
        }
        if ended.is_err() {
            panics.count(name);
        }
        say(|| tracing::error!(task = name, panicked = ended.is_err(), "a task ended; it begins anew"));
        end.run_until_cancelled(tokio::time::sleep(REST)).await;
    }
}

fn judge(name: &'static str, end: &CancellationToken, panicked: bool) {
    if panicked || !end.is_cancelled() {
        say(|| {
            tracing::error!(target: LAST_WORDS, task = name, panicked, "what must not end has ended; the process cannot go on");
        });
        std::process::abort();
    }
}

/// Logs, whatever becomes of it.
fn say(line: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(line)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::metrics::Registry;

    /// How the child process below ends its task.
    const HOW: &str = "SUPERVISE_TEST_HOW";

    /// A log that panics whatever is written to it.
    struct Broken;

    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic!("no room")
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    #[ignore = "it is run by the next test, in a process of its own"]
    async fn child() {
        let Ok(how) = std::env::var(HOW) else { return };
        let end = CancellationToken::new();
        if how == "with a broken log" {
            tracing_subscriber::fmt().with_writer(|| Broken).init();
        }
        match how.as_str() {
            "in time" => end.cancel(),
            "in a thread" => {
                return vital_thread("test", &end, || panic!("as told"));
            }
            _ => {}
        }
        vital("test", &end, async {
            assert!(how == "early" || how == "in time", "as told");
        })
        .await;
    }

    #[test]
    fn the_process_ends_with_a_task_that_must_not_end_whatever_the_log_does() {
        for (how, signal) in [
            ("in time", None),
            ("early", Some(6)),
            ("by a panic", Some(6)),
            ("in a thread", Some(6)),
            ("with a broken log", Some(6)),
        ] {
            let this = std::env::current_exe().expect("this program has a path");
            let child = Command::new(this)
                .args(["--exact", "supervise::tests::child", "--ignored"])
                .env(HOW, how)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("this program runs");
            assert_eq!((how, child.signal()), (how, signal), "{child}");
        }
    }

    #[tokio::test]
    async fn what_only_carries_begins_anew_until_it_is_to_end() {
        let (end, begun) = (CancellationToken::new(), AtomicUsize::new(0));
        let registry = Registry::new();
        restarted("test", &Panics::new(&registry), &end, || async {
            match begun.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("as told"),
                1 => {}
                _ => end.cancel(),
            }
        })
        .await;
        assert_eq!(begun.into_inner(), 3);
        assert!(registry.text().contains("\nfanfare_task_panics_total{task=\"test\"} 1\n"));
    }
}
