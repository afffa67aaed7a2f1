//! The program as it is called from a shell.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

use crate::keeper::{Kept, assert_fanfare_is_built, child_of};
use crate::liar::{Liar, Lie};

const ARGS: &str = "--subscribers 3 --rate 200 --duration 200ms --warmup 100ms";

pub(crate) fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare-loadgen"));
    command.args(line.split_whitespace()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(lie: Lie, args: &str) -> Output {
    let liar = Liar::start(lie).await;
    command(&format!("fanout --url {} {ARGS} {} {args}", liar.url, lie.grace()))
        .output()
        .await
        .expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn a_run_reports_on_standard_output_and_exits_with_0() {
    let output = run(Lie::None, "--threads 1").await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = text(&output.stdout);
    assert!(
        report.starts_with("fanout: 3 subscribers, 1 topic, 1 publisher; 200 publications/s"),
        "{report}"
    );
    assert!(report.lines().next().is_some_and(|head| head.contains("; 1 reader thread")), "{report}");
    // At 600 a second, unless the machine is busy.
    assert!(report.contains("\ndelivered                  120  "), "{report}");
    assert!(report.contains("\nlost                         0\n"), "{report}");
    assert!(text(&output.stderr).starts_with("broker at ws://127.0.0.1:"), "{output:?}");
}

#[tokio::test]
async fn an_assertion_that_is_not_met_exits_with_1_after_the_report() {
    let output = run(Lie::Drop, "--assert p99<30s,lost=0 --quiet").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), "assertion not met: lost=0: lost is 12\n");
    assert!(text(&output.stdout).contains("lost                        12\n"), "{output:?}");
}

#[tokio::test]
async fn a_server_that_ends_in_between_is_reported_with_what_it_used_and_exits_with_1() {
    let liar = Liar::start(Lie::None).await;
    // It stands for the broker's process.
    let mut server = Command::new("cat").stdin(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let load = "--subscribers 3 --rate 200 --duration 2s --warmup 0s --quiet";
    let pid = server.id().expect("it runs");
    let mut run = command(&format!("fanout --url {} {load} --server-pid {pid}", liar.url));
    let ending = async {
        liar.until_published(20).await;
        server.kill().await.expect("it runs");
    };
    let (output, ()) = tokio::join!(run.output(), ending);
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr).trim_end();
    assert!(said.starts_with("the server ended at ") && said.ends_with(" s"), "{output:?}");
    let report = text(&output.stdout);
    assert!(report.contains("\nserver memory") && report.contains(said), "{report}");
}

#[tokio::test]
async fn subscribers_that_were_all_disconnected_exit_with_1() {
    let output = run(Lie::Close(4508), "--quiet").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), "all subscribers were disconnected\n");
    assert!(text(&output.stdout).contains("disconnected                 3\n"), "{output:?}");
}

#[tokio::test]
async fn clients_whose_broker_died_in_mid_run_are_disconnected_and_exit_with_1() {
    let broker = Kept::start().await;
    let url = &broker.url;
    let load = "--subscribers 3 --rate 200 --duration 3s --warmup 0s --grace 100ms --via client --quiet";
    let mut run = command(&format!("fanout --url {url} {load}"));
    let dying = async {
        // All are subscribed by then, and half of it is still to come.
        sleep(Duration::from_millis(1500)).await;
        broker.kill_broker();
    };
    let (output, ()) = tokio::join!(run.output(), dying);
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), "all subscribers were disconnected\n");
    assert!(text(&output.stdout).contains("disconnected                 3\n"), "{output:?}");
}

#[tokio::test]
async fn wrong_arguments_and_runs_that_cannot_be_exit_with_2() {
    for args in
        ["--size 10", "--assert p98<1s", "--rate fast", "--target fanfarejson", "--server-pid 4294967295"]
    {
        let output = run(Lie::None, args).await;
        assert_eq!(output.status.code(), Some(2), "{args}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args}: {output:?}");
    }
}

#[tokio::test]
async fn json_goes_to_standard_output_or_beside_the_text_to_a_file() {
    let output = run(Lie::None, "--json").await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert_eq!((&json["delivered"], &json["lost"]), (&120.into(), &0.into()));

    let file = std::env::temp_dir().join(format!("fanfare-loadgen-{}.json", std::process::id()));
    let output = run(Lie::None, &format!("--json {}", file.display())).await;
    let written = std::fs::read(&file).expect("a file");
    std::fs::remove_file(&file).expect("it was there");
    let json: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(json["delivered"], 120);
    assert!(text(&output.stdout).contains("delivered                  120"), "{output:?}");
}

#[tokio::test]
async fn a_server_process_is_measured() {
    let output = run(Lie::None, &format!("--json --server-pid {}", std::process::id())).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(json["server"]["rss_bytes"].as_u64().expect("a number") > 1_000_000, "{json}");
    assert!(json["server"]["cpu_seconds_per_delivery"].is_f64(), "{json}");
    assert!(json["loadgen"]["cpu_seconds"].as_f64().expect("a number") > 0.0, "{json}");
}

#[tokio::test]
async fn a_reader_that_has_left_is_no_panic() {
    let liar = Liar::start(Lie::None).await;
    let mut child = command(&format!("fanout --url {} {ARGS} --quiet", liar.url))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[tokio::test]
async fn the_floor_is_started_where_it_is_the_target_and_delivers_everything() {
    let flawless = "lost=0,duplicates=0,out_of_order=0,strays=0,disconnected=0,publish_errors=0";
    for load in [
        "--subscribers 30 --rate 100 --size 5000 --publishers 2",
        "--subscribers 20 --topics 5 --publishers 3 --rate 500",
    ] {
        let line =
            format!("fanout --target floor {load} --duration 300ms --quiet --json --assert {flawless}");
        let output = command(&line).output().await.expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(json["delivered"].as_u64() > Some(500), "{json}");
        assert!(json["server"]["rss_bytes"].is_u64(), "it is measured: {json}");
    }
}

#[tokio::test]
async fn servers_and_load_generator_are_pinned_apart_or_it_is_said_that_they_cannot_be() {
    let load = "--subscribers 3 --rate 100 --duration 100ms --warmup 0s --quiet --json";
    let output = command(&format!("fanout --target floor {load} --pin")).output().await.expect("it starts");
    let processors = std::thread::available_parallelism().expect("known").get();
    if processors < 2 {
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("--pin needs two processors"), "{output:?}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let pinned = json["config"]["pinned"].as_str().expect("it says how");
    assert!(pinned.starts_with("servers on processor"), "{pinned}");
    let liar = Liar::start(Lie::None).await;
    let unknown =
        command(&format!("fanout --url {} {load} --pin", liar.url)).output().await.expect("it starts");
    let json_of_unknown: serde_json::Value = serde_json::from_slice(&unknown.stdout).expect("JSON");
    let told = json_of_unknown["config"]["pinned"].as_str().expect("it says how");
    assert!(told.ends_with("the server not pinned: its process is not known"), "{told}");
    let own = processors - processors / 2;
    assert_eq!(json["config"]["threads"], own.min(3), "as many readers as it has processors: {json}");
}

/// The processors that the threads of a process may run on, for each thread.
#[cfg(target_os = "linux")]
fn processors_of(process: i32) -> BTreeSet<Vec<usize>> {
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, sched_getaffinity};
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
    let ids = threads.filter_map(|thread| Pid::from_raw(thread.file_name().to_str()?.parse().ok()?));
    // One that has ended meanwhile has none.
    let sets = ids.filter_map(|thread| sched_getaffinity(Some(thread)).ok());
    sets.map(|set| (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn all_threads_of_either_side_are_on_its_processors_while_it_is_measured() {
    if std::thread::available_parallelism().expect("known").get() < 2 {
        return;
    }
    let load = "--subscribers 8 --rate 100 --duration 10m --threads 4 --quiet";
    let mut own = command(&format!("fanout --target floor {load} --pin")).spawn().expect("it starts");
    let process = own.id().expect("it runs") as i32;
    let floor = child_of(process).await;
    let names = || {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
        let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm")).ok();
        threads.filter_map(name).collect::<String>()
    };
    // It is the last one that is started.
    while !names().contains("publisher") {
        sleep(Duration::from_millis(10)).await;
    }
    let (ours, servers) = (processors_of(process), processors_of(floor));
    own.kill().await.expect("it runs");
    let [ours, servers] = [ours, servers].map(|sets| {
        assert_eq!(sets.len(), 1, "all its threads have the same: {sets:?}");
        sets.into_iter().flatten().collect::<Vec<_>>()
    });
    assert!(ours.iter().all(|n| !servers.contains(n)), "{ours:?}, {servers:?}");
}

#[tokio::test]
async fn workers_are_those_of_a_broker_that_is_started_and_of_no_other() {
    assert_fanfare_is_built();
    let load = "rooms --rooms 2 --per-room 2 --rate 100 --duration 100ms --warmup 0s --quiet --json";
    if TcpStream::connect("127.0.0.1:8000").await.is_err() {
        let output = command(&format!("{load} --workers 3")).output().await.expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let server = json["config"]["server"].as_str().expect("it says which");
        assert!(server.ends_with("; 3 workers"), "{server}");
    }
    let kept = Kept::start_with_workers(3).await;
    assert_eq!(workers_of(kept.process), 3, "it is the broker's own setting");
    for (other, why) in [
        (format!("--url {}", kept.url), "--url names one that runs"),
        ("--target floor".to_owned(), "the floor has a thread for each core"),
    ] {
        let output = command(&format!("{load} --workers 3 {other}")).output().await.expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("--workers is for a broker that is started for the run, and "), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let none = command(&format!("{load} --workers 0")).output().await.expect("it starts");
    assert_eq!(none.status.code(), Some(2), "{none:?}");
}

/// How many threads of a broker are its workers, by their names.
fn workers_of(process: i32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
    let name =
        |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
    threads.map(name).filter(|name| name.starts_with("worker-")).count()
}

#[tokio::test]
async fn the_floor_cuts_off_who_does_not_read_and_says_so() {
    let load = "--subscribers 4 --share 25 --size 200000 --rate 40 --duration 1500ms --warmup 0s";
    let line = format!("stuck --target floor {load} --quiet --json --assert lost=0,disconnected=0");
    let output = command(&line).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(0), "the others are not disturbed: {output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["stuck"]["disconnected"], 1, "{json}");
    assert!(text(&output.stderr).contains("did not read: 1\n"), "{output:?}");
}
