//! The broker that the program starts where there is none, and its keeper.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::program::command;

/// Longest that anything here may take.
const SOON: Duration = Duration::from_secs(10);
/// What only one may bring.
const TOKEN: &str = "a-token-for-tests";

/// A broker and its keeper, which end with this value.
pub(crate) struct Kept {
    pub(crate) keeper: Child,
    pub(crate) url: String,
    /// The process of the broker itself.
    pub(crate) process: i32,
}

impl Kept {
    pub(crate) async fn start() -> Self {
        Self::start_with("", &[]).await
    }

    pub(crate) async fn start_with_workers(workers: u32) -> Self {
        Self::start_with(&format!("--workers {workers}"), &[]).await
    }

    async fn start_with(args: &str, environment: &[(&str, &str)]) -> Self {
        assert_fanfare_is_built();
        let mut keeper = command(&format!("__broker --message-size 100000 {args}"))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Elsewhere than on Linux one that is killed leaves the broker behind.
            .kill_on_drop(cfg!(target_os = "linux"))
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).await.expect("a line");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let said = &said["listening"];
        let url = format!("ws://{}/ws", said["address"].as_str().expect("an address"));
        let process = said["process"].as_i64().expect("a number") as i32;
        assert!(said["version"].as_str().expect("a version").starts_with("fanfare 0."), "{line}");
        Self { keeper, url, process }
    }

    /// Kills the broker, not its keeper.
    pub(crate) fn kill_broker(&self) {
        kill(self.process);
    }
}

fn kill(process: i32) {
    kill_process(Pid::from_raw(process).expect("a process"), Signal::KILL).expect("it runs");
}

/// Asserts that the broker's program is there: it is of another package, so that building this one does not
/// build it.
pub(crate) fn assert_fanfare_is_built() {
    let program = Path::new(env!("CARGO_BIN_EXE_fanfare-loadgen")).with_file_name("fanfare");
    assert!(program.is_file(), "{} is not there: `cargo build --workspace` builds it", program.display());
}

fn runs(process: i32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

async fn until_gone(process: i32) {
    let gone = async {
        while runs(process) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.unwrap_or_else(|_| panic!("process {process} is left behind"));
}

/// The processes that another one has started and that run still.
fn children_of(process: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    children.unwrap_or_default().split_whitespace().map(|child| child.parse().expect("a process")).collect()
}

/// The first process that another one has started, once there is one.
pub(crate) async fn child_of(process: i32) -> i32 {
    let child = async {
        loop {
            if let Some(child) = children_of(process).first() {
                return *child;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, child).await.unwrap_or_else(|_| panic!("process {process} has started none"))
}

fn command_line(process: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{process}/cmdline")).expect("it runs");
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[tokio::test]
async fn it_says_where_and_which_process_it_is_and_ends_with_the_keepers_standard_input() {
    let mut kept = Kept::start().await;
    assert!(command_line(kept.process).contains("/fanfare serve "), "{}", command_line(kept.process));
    // Few, because they are large.
    let load = "--subscribers 3 --rate 20 --size 90000 --duration 200ms --warmup 0s";
    let line = format!("fanout --url {} {load} --assert lost=0", kept.url);
    let output = command(&line).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    drop(kept.keeper.stdin.take());
    let ended = timeout(SOON, kept.keeper.wait()).await.expect("it ends in time");
    assert_eq!(ended.expect("it ends").code(), Some(0));
    assert!(!runs(kept.process), "the broker has ended before");
}

#[tokio::test]
async fn a_keeper_ends_with_its_broker() {
    let mut kept = Kept::start().await;
    // Nothing but the broker's end shall end it.
    let _input = kept.keeper.stdin.take();
    kept.kill_broker();
    let ended = timeout(SOON, kept.keeper.wait()).await.expect("it ends in time");
    assert_eq!(ended.expect("it ends").code(), Some(2));
}

#[tokio::test]
async fn a_load_generator_that_is_killed_leaves_no_broker_behind() {
    assert_fanfare_is_built();
    let out = std::env::temp_dir().join(format!("fanfare-killed-{}.html", std::process::id()));
    let line =
        format!("compare --no-calibration --targets fanfare --scenario connect --out {}", out.display());
    let mut compare = command(&line).stderr(Stdio::null()).spawn().expect("it starts");
    let keeper = child_of(compare.id().expect("it runs") as i32).await;
    let broker = child_of(keeper).await;
    compare.kill().await.expect("it runs");
    until_gone(broker).await;
    until_gone(keeper).await;
    std::fs::remove_file(&out).expect("it was opened before");
}

/// Elsewhere than on Linux the run goes on to its end, and nothing is said of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_comparison_that_is_killed_leaves_no_run_behind() {
    let out = std::env::temp_dir().join(format!("fanfare-killed-run-{}.html", std::process::id()));
    let scenario = "fanout --subscribers 3 --rate 10 --duration 10m";
    let mut compare = command("compare --no-calibration --targets floor --out")
        .arg(&out)
        .args(["--scenario", scenario])
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let process = compare.id().expect("it runs") as i32;
    let floor = child_of(process).await;
    let run = async {
        loop {
            let is_run = |child: &i32| command_line(*child).contains("fanfare-loadgen fanout");
            if let Some(run) = children_of(process).into_iter().find(is_run) {
                return run;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let run = timeout(SOON, run).await.expect("it starts a run");
    compare.kill().await.expect("it runs");
    until_gone(run).await;
    until_gone(floor).await;
    std::fs::remove_file(&out).expect("it was opened before");
}

/// Elsewhere than on Linux the broker is left behind, and nothing is said of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_keeper_that_is_killed_leaves_no_broker_behind() {
    let mut kept = Kept::start().await;
    kill(kept.keeper.id().expect("it runs") as i32);
    until_gone(kept.process).await;
    timeout(SOON, kept.keeper.wait()).await.expect("it ends in time").expect("it has ended");
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up_and_not_left_behind() {
    let folder = Mute::new();
    let mut keeper = Command::new(folder.keeper())
        .args(["__broker", "--message-size", "100000", "--start-max", "300ms"])
        .env("PATH", "/usr/bin:/bin")
        // It stays open: nothing but the limit shall end it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(cfg!(target_os = "linux"))
        .spawn()
        .expect("it starts");
    let mute = child_of(keeper.id().expect("it runs") as i32).await;
    let mut said = String::new();
    let stdout = keeper.stdout.take().expect("it is piped");
    let line = timeout(SOON, BufReader::new(stdout).read_line(&mut said)).await;
    line.expect("it does not wait without end").expect("a line");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let why = said["not_started"].as_str().expect("it does not");
    assert!(why.ends_with("does not start: it has not said for 300ms where it listens"), "{why}");
    until_gone(mute).await;
    timeout(SOON, keeper.wait()).await.expect("it ends in time").expect("it has ended");
}

/// A folder with the load generator and a program `fanfare` that never says anything; it is gone with this value.
struct Mute(PathBuf);

impl Mute {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mute-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("it can be made");
        // In the place where the program itself is built, so that it needs no copy.
        std::fs::hard_link(env!("CARGO_BIN_EXE_fanfare-loadgen"), folder.join("fanfare-loadgen"))
            .expect("a link");
        let mute = folder.join("fanfare");
        std::fs::write(&mute, "#!/bin/sh\nexec sleep 600\n").expect("it can be written");
        std::fs::set_permissions(&mute, Permissions::from_mode(0o755)).expect("it is ours");
        Self(folder)
    }

    fn keeper(&self) -> PathBuf {
        self.0.join("fanfare-loadgen")
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("it can be removed");
    }
}

#[tokio::test]
async fn a_token_is_the_only_way_in_and_on_no_command_line() {
    let kept = Kept::start_with("", &[("FANFARE_LOADGEN_TOKEN", TOKEN)]).await;
    let keeper = kept.keeper.id().expect("it runs") as i32;
    for process in [keeper, kept.process] {
        assert!(!command_line(process).contains(TOKEN), "{}", command_line(process));
    }
    let line = format!("fanout --subscribers 1 --duration 100ms --url {} --quiet", kept.url);
    let output = command(&line).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(2), "nobody may without it: {output:?}");
    let line = format!("strangers --strangers 2 --duration 50ms --warmup 10ms --url {} --quiet", kept.url);
    let line = format!("{line} --server-pid {} --assert strangers_ack_p99<10s", kept.process);
    let output = command(&line).env("FANFARE_TOKEN", TOKEN).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(0), "who has it may: {output:?}");
}

#[tokio::test]
async fn a_broker_that_does_not_start_says_why() {
    assert_fanfare_is_built();
    let output = command("__broker --message-size 0").output().await.expect("it starts");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let why = said["not_started"].as_str().expect("it does not");
    assert!(why.contains("/fanfare does not start: ") && why.contains("limits.message_size"), "{why}");
}

#[tokio::test]
async fn settings_for_another_broker_are_not_for_this_one() {
    let kept =
        Kept::start_with("", &[("FANFARE_SERVER__LISTEN", "nowhere"), ("FANFARE_NAMES", "none")]).await;
    assert!(kept.url.starts_with("ws://127.0.0.1:"), "{}", kept.url);
}
