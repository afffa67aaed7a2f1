//! Whatever becomes of the log, the broker serves and stops.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fanfare_harness::{Client, RawSocket, eventually, http, soon};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::process::{Process, ended, fanfare, fanfare_serve};

/// What a broker has dropped of its log.
async fn dropped(admin: SocketAddr) -> u64 {
    let metrics = http(admin, "GET", "/metrics", &[], b"").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("fanfare_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("no such metric: {metrics}")).parse().expect("a number")
}

/// Has a line logged at level `debug`.
async fn cause_a_line(public: SocketAddr) {
    let mut socket = RawSocket::connect(public).await;
    socket.send(b"no HTTP\r\n\r\n").await;
    socket.is_over().await;
}

/// What clients rely on goes on, and the broker stops in peace.
async fn serves_and_stops(broker: Process) {
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    client.subscribe("t").await;
    // A refused page has its line in the log; it has its answer as well.
    for _ in 0..3 {
        let origin = "Origin: https://elsewhere.example";
        assert_eq!(http(broker.public, "GET", "/v1/topics", &[origin], b"").await.status, 403);
    }
    client.publish("t", json!(1)).await;
    assert_eq!(client.expect("message").await["data"], 1);
    assert_eq!(http(broker.admin, "GET", "/readyz", &[], b"").await.status, 200);
    let stopped = Instant::now();
    broker.signal("TERM").await;
    assert_eq!(client.closed().await, 1012);
    assert_eq!(broker.ended().await.0.code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
}

const QUICK: [(&str, &str); 1] = [("FANFARE_SERVER__DRAIN_WINDOW", "100ms")];

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut broker = Process::start_on("127.0.0.1:0", &["--log-level", "debug"], &QUICK).await;
    let _unread = broker.leave_log().await;
    // The pipe, and then all that may wait.
    soon("the log to be full", async {
        while dropped(broker.admin).await == 0 {
            join_all((0..100).map(|_| cause_a_line(broker.public))).await;
        }
    })
    .await;
    serves_and_stops(broker).await;
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_ends_nothing() {
    let mut broker = Process::start_on("127.0.0.1:0", &["--log-level", "debug"], &QUICK).await;
    drop(broker.leave_log().await);
    cause_a_line(broker.public).await;
    soon("the line to be missed", async { while dropped(broker.admin).await == 0 {} }).await;
    serves_and_stops(broker).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_on_a_full_disk_ends_nothing() {
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    // Both at once, lest they be the same. Nobody says where it listens.
    let (public, admin) = (free(), free());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = fanfare(&["serve"]);
    command.args(["--listen", &public.to_string(), "--admin-listen", &admin.to_string()]);
    let mut child = command.envs(QUICK).stderr(Stdio::from(full)).spawn().expect("the program starts");
    soon("the start", async {
        while tokio::net::TcpStream::connect(admin).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    soon("the line of the start to be missed", async { while dropped(admin).await == 0 {} }).await;
    let origin = "Origin: https://elsewhere.example";
    assert_eq!(http(public, "GET", "/v1/topics", &[origin], b"").await.status, 403);
    let client = Client::connect_to(public, "/ws", Codec::Json).await;
    let id = child.id().expect("it runs").to_string();
    let told = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(told.is_ok_and(|status| status.success()));
    assert_eq!(client.closed().await, 1012);
    assert_eq!(soon("the end", child.wait()).await.expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn what_the_log_could_not_take_it_tells_of_when_there_is_room() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut child =
        fanfare_serve("127.0.0.1:0").args(["--log-level", "debug"]).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut next = async || -> Value {
        let line = soon("a line", lines.next_line()).await.expect("it is UTF-8").expect("there is more");
        serde_json::from_str(&line).expect("a line is whole")
    };
    let started = next().await["fields"].clone();
    let address = |name: &str| started[name].as_str().and_then(|a| a.parse().ok()).expect("an address");
    let (public, admin) = (address("public"), address("admin"));
    soon("the log to be full", async {
        while dropped(admin).await == 0 {
            join_all((0..100).map(|_| cause_a_line(public))).await;
        }
    })
    .await;
    let mut told = 0;
    // Some may be missed yet until there is room.
    while told < dropped(admin).await {
        told += next().await["fields"]["dropped"].as_u64().unwrap_or(0);
    }
    assert_eq!(told, dropped(admin).await);
}

#[tokio::test]
async fn descriptors_that_run_out_are_said_once_a_second_and_come_back() {
    let broker = Process::start(&[]).await;
    let files = Files::of(&broker);
    files.allow(2).await;
    let _waiting = join_all((0..10).map(|_| RawSocket::connect(broker.public))).await;
    eventually("the log to say so", || broker.log().contains("out of file descriptors")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let lines = broker.log().matches("out of file descriptors").count();
    assert!(lines <= 4, "{lines} lines in two seconds");
    files.allow(1000).await;
    assert_eq!(http(broker.public, "GET", "/v1/topics", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_broker_without_descriptors_or_a_log_accepts_again_and_stops() {
    let mut broker = Process::start_on("127.0.0.1:0", &[], &QUICK).await;
    let client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    drop(broker.leave_log().await);
    let files = Files::of(&broker);
    files.allow(0).await;
    let waiting = RawSocket::connect(broker.public).await;
    // Accepting is tried every 50 ms.
    tokio::time::sleep(Duration::from_millis(300)).await;
    files.allow(1000).await;
    assert_eq!(http(broker.public, "GET", "/v1/topics", &[], b"").await.status, 200);
    drop(waiting);
    files.allow(0).await;
    broker.signal("TERM").await;
    assert_eq!(client.closed().await, 1012);
    assert_eq!(broker.ended().await.0.code(), Some(0));
}

/// The descriptors of a process.
struct Files(u32);

impl Files {
    fn of(broker: &Process) -> Self {
        Self(broker.id())
    }

    /// Allows it so many more than it has.
    async fn allow(&self, more: usize) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.0)).expect("it runs").count();
        let limit = format!("--nofile={}:", open + more);
        let pid = self.0.to_string();
        let set = tokio::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().await;
        assert!(set.is_ok_and(|status| status.success()), "the limit is set");
    }
}

#[tokio::test]
async fn with_too_few_descriptors_it_does_not_start_and_says_what_is_needed() {
    for (limit, starts) in [(64, false), (79, false), (80, true)] {
        let mut command = tokio::process::Command::new("sh");
        let serve =
            format!("ulimit -n {limit} && exec \"$0\" serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
        command.args(["-c", &serve, env!("CARGO_BIN_EXE_fanfare")]).env("FANFARE_SERVER__WORKERS", "2");
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if starts {
            Process::started(command).await;
            continue;
        }
        let failed = ended(command.spawn().expect("sh starts")).await;
        assert_eq!((failed.code, failed.stderr.lines().count()), (Some(1), 1), "{failed:?}");
        for said in ["not started", &limit.to_string(), "80", "ulimit -n", "LimitNOFILE"] {
            assert!(failed.stderr.contains(said), "{said}: {failed:?}");
        }
    }
}
