//! Several brokers in one run.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::keeper::assert_fanfare_is_built;
use crate::liar::{Liar, Lie};

const TINY: &str = "fanout --subscribers 3 --duration 200ms --warmup 50ms --threads 2 --rates 100,200";

/// Where one test writes; it is gone with this value.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fanfare-compare-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).expect("it is new");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it was written")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("it can be removed");
    }
}

async fn compare(args: &[&str]) -> Output {
    assert_fanfare_is_built();
    Command::new(env!("CARGO_BIN_EXE_fanfare-loadgen"))
        .arg("compare")
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn all_who_take_part_are_measured_in_turns_and_shown_on_one_page() {
    let files = Files::new("turns");
    let (out, json) = (files.path("report.html"), files.path("report.json"));
    let args = ["--scenario", TINY, "--targets", "fanfare,floor", "--out", &out, "--json", &json];
    let output = compare(&args).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let turns: Vec<&str> = text(&output.stderr)
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split_once(": delivered"))
        .map(|it| it.0)
        .collect();
    let round = ["100 publications/s, fanfare", "100 publications/s, floor", "200 publications/s, fanfare"];
    for (turn, expected) in turns.iter().zip(round) {
        assert!(turn.ends_with(expected), "{turn} should be {expected}");
    }
    assert_eq!(turns.len(), 8, "two rounds of two rates for two: {turns:?}");

    let json: serde_json::Value = serde_json::from_str(&files.read("report.json")).expect("JSON");
    let names: Vec<&serde_json::Value> =
        json["contenders"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["fanfare", "floor"]);
    let measured = &json["tasks"][0]["steps"][1]["rounds"][1][1]["measured"];
    assert_eq!((&measured["delivered"], &measured["lost"]), (&120.into(), &0.into()), "{measured}");

    let page = files.read("report.html");
    for part in [
        "fanfare",
        "floor",
        "one publication in 64 is confirmed",
        "no publication is confirmed",
        "100 publications",
        "Latency by quantile",
        "</svg>",
        "</html>",
    ] {
        assert!(page.contains(part), "the page should have {part}");
    }
    for link in ["http://", "https://", "src=", "href="] {
        assert!(
            !page.replace("http://www.w3.org/2000/svg", "").contains(link),
            "the page needs nothing else"
        );
    }
    let table = text(&output.stdout);
    assert!(table.contains("floor: nothing lost, doubled or out of order"), "{table}");
    let calibration = table.lines().last().expect("it is the last line");
    assert!(
        calibration.starts_with("calibration: the floor spent ") && calibration.contains(" after ("),
        "{table}"
    );
    assert!(page.contains("the floor spent "), "the page has it too");
    assert!(json["calibration"]["after"].is_f64(), "and the file");
}

#[tokio::test]
async fn who_cannot_take_part_is_shown_with_the_reason_and_the_others_go_on() {
    let files = Files::new("failure");
    let out = files.path("report.html");
    let targets = "nobody,fanfare,gone=ws://127.0.0.1:1/@4294967294";
    let args = ["--no-calibration", "--scenario", TINY, "--targets", targets, "--rounds", "1", "--out", &out];
    let output = compare(&args).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = text(&output.stdout);
    assert!(table.contains("nobody failed: it does not start") && table.contains("no peer is called nobody"));
    assert!(table.contains("gone failed: there is no process 4294967294"), "{table}");
    assert!(table.contains("fanfare: nothing lost"), "{table}");
    let page = files.read("report.html");
    assert!(page.contains("no peer is called nobody") && page.contains("nothing was measured"));
}

#[tokio::test]
async fn a_report_can_be_written_again_from_what_was_measured() {
    let files = Files::new("again");
    let (out, json, again) = (files.path("report.html"), files.path("report.json"), files.path("again.html"));
    let output = compare(&[
        "--no-calibration",
        "--scenario",
        TINY,
        "--targets",
        "floor",
        "--rounds",
        "1",
        "--out",
        &out,
        "--json",
        &json,
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = compare(&["--from", &json, "--out", &again]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(files.read("again.html"), files.read("report.html"));
}

/// A comparison of the floor alone, which is over soon, with these options: its output, report and page.
async fn of_the_floor(name: &str, options: &[&str]) -> (Output, serde_json::Value, String) {
    let files = Files::new(name);
    let (out, json) = (files.path("report.html"), files.path("report.json"));
    let args = ["--no-calibration", "--targets", "floor", "--rounds", "1", "--out", &out, "--json", &json];
    let output = compare(&[&args[..], &["--scenario", TINY], options].concat()).await;
    // There are none where it was refused.
    let written = |file: &str| std::fs::read_to_string(files.path(file)).unwrap_or_default();
    let json = serde_json::from_str(&written("report.json")).unwrap_or_default();
    (output, json, written("report.html"))
}

#[tokio::test]
async fn servers_that_are_compared_are_pinned_where_there_are_processors_enough() {
    let enough = std::thread::available_parallelism().expect("known").get() >= 2;
    for (name, options) in [("pin", &["--pin"][..]), ("default", &[])] {
        let (output, json, page) = of_the_floor(name, options).await;
        if !enough {
            assert_eq!(output.status.code(), Some(if options.is_empty() { 0 } else { 2 }), "{output:?}");
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let pinned = json["placement"].as_str().expect("it says how");
        assert!(pinned.starts_with("servers on processor"), "{pinned}");
        let config = &json["tasks"][0]["steps"][0]["rounds"][0][0]["measured"]["config"];
        assert_eq!(config["pinned"], pinned, "each run says it too");
        assert!(page.contains(&format!("<dt>processors</dt><dd>{pinned}</dd>")), "{pinned}");
        let said = text(&output.stdout).contains(&format!("processors: {pinned}\n"));
        assert!(said && text(&output.stderr).starts_with(&format!("processors: {pinned}\n")), "{output:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_pinned_is_named() {
    if std::thread::available_parallelism().expect("known").get() < 2 {
        return;
    }
    let liar = Liar::start(Lie::None).await;
    let files = Files::new("unknown");
    let (out, json) = (files.path("report.html"), files.path("report.json"));
    let targets = format!("floor,liar:fanfare={}", liar.url);
    let args = ["--pin", "--no-calibration", "--rounds", "1", "--out", &out, "--json", &json];
    let output = compare(&[&args[..], &["--scenario", TINY, "--targets", &targets]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: serde_json::Value = serde_json::from_str(&files.read("report.json")).expect("JSON");
    let placement = json["placement"].as_str().expect("it says how");
    let named = "; not pinned, because the process is not known: liar:fanfare";
    assert!(placement.starts_with("servers on processor") && placement.ends_with(named), "{placement}");
}

#[tokio::test]
async fn servers_that_are_not_pinned_have_the_reason_said() {
    let (output, json, page) = of_the_floor("no-pin", &["--no-pin"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let together = "servers and load generator share all, not pinned: --no-pin";
    assert_eq!(json["placement"], together);
    assert!(page.contains(together) && text(&output.stdout).contains(together), "{output:?}");
    let config = &json["tasks"][0]["steps"][0]["rounds"][0][0]["measured"]["config"];
    assert!(config["pinned"].is_null(), "{config}");
    let (output, ..) = of_the_floor("both", &["--no-pin", "--pin"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn with_one_processor_pinning_is_refused_and_without_it_the_reason_is_said() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let all = sched_getaffinity(None).expect("it can be asked");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|n| all.is_set(*n)).expect("there is one"));
    // What this thread starts from now on has no more.
    sched_setaffinity(None, &one).expect("it is one of ours");
    let why =
        "needs two processors at least, one for the servers and one for the load generator, and there is 1";
    let (output, ..) = of_the_floor("one-pin", &["--pin"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains(why), "{output:?}");
    let (output, json, page) = of_the_floor("one", &[]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(json["placement"].as_str().is_some_and(|it| it.contains(why)), "{}", json["placement"]);
    assert!(page.contains(why) && text(&output.stdout).contains(why), "{output:?}");
}

#[tokio::test]
async fn beside_bun_fanfare_takes_part_with_as_many_threads_too() {
    let files = Files::new("bun");
    let (out, json) = (files.path("report.html"), files.path("report.json"));
    let args = ["--no-calibration", "--no-pin", "--targets", "fanfare,bun", "--rounds", "1", "--out", &out];
    let output = compare(&[&args[..], &["--json", &json, "--scenario", TINY]].concat()).await;
    // Where Bun is not installed that is a failure of its own.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let json: serde_json::Value = serde_json::from_str(&files.read("report.json")).expect("JSON");
    let threads = |it: &serde_json::Value| (it["name"].clone(), it["threads"].clone());
    let threads: Vec<_> = json["contenders"].as_array().expect("a list").iter().map(threads).collect();
    let processors = std::thread::available_parallelism().expect("known").get();
    let mut expected = vec![("fanfare".into(), processors.into())];
    if processors > 1 {
        expected.push(("fanfare-1".into(), 1.into()));
        assert!(text(&output.stdout).contains("; fanfare-1 1 thread, as many as bun; "), "{output:?}");
        assert!(files.read("report.html").contains("<small>1 thread, as many as bun</small>"));
        let measured = &json["tasks"][0]["steps"][0]["rounds"][1][0]["measured"];
        assert_eq!((&measured["delivered"], &measured["lost"]), (&60.into(), &0.into()), "{measured}");
    }
    expected.push(("bun".into(), 1.into()));
    assert_eq!(threads, expected);
}

#[tokio::test]
async fn all_who_are_compared_have_rooms_of_one_order_and_each_round_has_another() {
    let files = Files::new("order");
    let (out, json) = (files.path("report.html"), files.path("report.json"));
    let rooms = "rooms --rooms 4 --per-room 2 --rates 100 --threads 1 --duration 100ms --warmup 0s";
    let args = ["--no-calibration", "--scenario", rooms, "--targets", "fanfare,floor", "--out", &out];
    let output = compare(&[&args[..], &["--json", &json]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: serde_json::Value = serde_json::from_str(&files.read("report.json")).expect("JSON");
    for who in [0, 1] {
        let order = |round: usize| {
            json["tasks"][0]["steps"][0]["rounds"][who][round]["measured"]["config"]["member_order"].clone()
        };
        let seed = |seed: u32| serde_json::json!({"random": {"seed": seed}});
        assert_eq!((order(0), order(1)), (seed(1), seed(2)));
    }
    assert!(files.read("report.html").contains("members in random order, seeds 1, 2"));
}

#[tokio::test]
async fn what_cannot_be_measured_at_all_exits_with_2() {
    let files = Files::new("nothing");
    let out = files.path("report.html");
    for (args, why) in [
        (["--scenario", "fanin", "--out", &out], "there is no scenario \"fanin\""),
        (["--targets=nobody", "--no-calibration", "--out", &out], "nothing could be measured"),
        (["--rounds", "0", "--out", &out], "--rounds"),
        (["--rounds", "1", "--out", "/nowhere/report.html"], "cannot write /nowhere/report.html"),
        (["--from", &out, "--out", &out], "is nothing that --json has written"),
    ] {
        std::fs::write(&out, "").expect("it can be written");
        let output = compare(&args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{args:?}: {output:?}");
    }
}
