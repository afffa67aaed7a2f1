//! The real peers of `loadgen/compare/peers/`, where they are installed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fanfare_loadgen::Assertions;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::notices::{deliveries, measure};

/// Longest that any of them may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Set where all of them should be there: one that is not is a failure then.
const REQUIRED: &str = "PEERS_REQUIRED";

/// A peer that runs; it ends with this value.
struct Peer {
    url: String,
    process: Child,
}

impl Drop for Peer {
    /// Asks it to end, since one that is killed could leave processes of its own behind.
    fn drop(&mut self) {
        let id = self.process.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
        kill_process(id, Signal::TERM).expect("it is ours");
    }
}

impl Peer {
    /// Starts it, or says why not, loudly: it is not installed.
    async fn start(name: &str) -> Option<Self> {
        let started = match Self::try_start(name).await {
            // Somebody else was faster: the free port was only looked for, not kept.
            Err(why) if why.contains("is taken") => Self::try_start(name).await,
            result => result,
        };
        let why = match started {
            Ok(peer) => return Some(peer),
            Err(why) => why,
        };
        assert!(why.contains("not installed"), "{name} does not start: {why}");
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set: {why}");
        eprintln!("SKIPPED: {}", why.trim());
        None
    }

    /// Starts it, or returns its complaint.
    async fn try_start(name: &str) -> Result<Self, String> {
        let port = free_port().await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compare/peers/start");
        let mut process = Command::new(script)
            .args([name, &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell script starts");
        let mut version = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        stdout.read_line(&mut version).await.expect("its first line");
        if version.is_empty() {
            let output = process.wait_with_output().await.expect("it ends");
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                let ended = process.try_wait().expect("it can be asked");
                assert!(ended.is_none(), "{name} has ended: {ended:?}");
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START_TIMEOUT, listens).await.unwrap_or_else(|_| panic!("{name} does not listen"));
        if name == "nchan" {
            let master = process.id().expect("it runs");
            let ready = timeout(START_TIMEOUT, nginx_workers_are_up(master)).await;
            ready.unwrap_or_else(|_| panic!("{name} has no workers"));
        }
        Ok(Self { url: format!("ws://127.0.0.1:{port}"), process })
    }
}

/// Waits until both workers are what they shall be. The socket is the master's and takes connections before: whoever
/// subscribes while one worker does not know of the other waits at one of them for what is published at the other.
async fn nginx_workers_are_up(master: u32) {
    // It is called so by nginx once its modules have begun.
    const TITLE: &[u8] = b"nginx: worker process";
    loop {
        let children =
            std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).expect("it runs");
        let title = |id: &str| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if children.split_whitespace().filter(|id| title(id).starts_with(TITLE)).count() == 2 {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Everything that is published arrives, once and in order: at one topic, at many, and at several of one
/// connection, where the target can.
async fn every_delivery_is_counted_once_and_in_order(peer: &str, target: &str) {
    let Some(peer) = Peer::start(peer).await else { return };
    let flawless = "lost=0,duplicates=0,out_of_order=0,gaps=0,strays=0,disconnected=0,publish_errors=0";
    let flawless: Assertions = flawless.parse().expect("conditions");
    let mut scenarios = vec![
        ("fanout --subscribers 3 --rate 200", 120),
        ("fanout --subscribers 3 --rate 200 --publishers 3 --size 4000", 120),
        ("rooms --rooms 4 --per-room 5 --rate 200", 200),
    ];
    if !["fastapi", "nchan"].contains(&target) {
        scenarios.push(("mesh --subscribers 4 --topics 4 --topics-each 4 --publishers 2 --rate 200", 160));
    }
    for (scenario, delivered) in scenarios {
        let common = "--duration 200ms --warmup 200ms --grace 10s --quiet";
        let line = format!("{scenario} --target {target} --url {} {common}", peer.url);
        let report = measure(&line).await.expect("a report");
        assert_eq!(flawless.failures(&report), [""; 0], "{scenario}: {report}");
        assert_eq!(deliveries(&report).delivered, delivered, "{scenario}: {report}");
        assert!(report.troubles.is_empty(), "{scenario}: {report}");
    }
}

#[tokio::test]
async fn every_delivery_of_bun_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("bun", "bun").await;
}

#[tokio::test]
async fn every_delivery_of_bun_in_two_processes_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("bun-2", "bun").await;
}

#[tokio::test]
async fn every_delivery_of_fastapi_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("fastapi", "fastapi").await;
}

#[tokio::test]
async fn every_delivery_of_mosquitto_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("mosquitto", "mqtt").await;
}

#[tokio::test]
async fn every_delivery_of_nats_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("nats", "nats").await;
}

#[tokio::test]
async fn every_delivery_of_nchan_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("nchan", "nchan").await;
}

#[tokio::test]
async fn every_delivery_of_socketio_is_counted_once_and_in_order() {
    every_delivery_is_counted_once_and_in_order("socketio", "socketio").await;
}
