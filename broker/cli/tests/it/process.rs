//! The real program.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use fanfare_harness::soon;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The program with these arguments, and nothing of ours in its environment.
pub(crate) fn fanfare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command.args(args).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `fanfare serve` on that address and a free port for the operator.
pub(crate) fn fanfare_serve(listen: &str) -> Command {
    fanfare(&["serve", "--listen", listen, "--admin-listen", "127.0.0.1:0"])
}

/// What a program that has ended said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The lines of its standard output as JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}"))).collect()
    }
}

/// Waits until a started program ends.
pub(crate) async fn ended(child: Child) -> Ended {
    let output = soon("the program to end", child.wait_with_output()).await.expect("it can be waited for");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the program to its end.
pub(crate) async fn run(args: &[&str]) -> Ended {
    ended(fanfare(args).spawn().expect("the program starts")).await
}

/// A broker that is a process of its own. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Reads the log, until it ends or it is told not to; then it gives it back.
    reading: JoinSet<Lines<BufReader<ChildStderr>>>,
    read_no_more: CancellationToken,
}

impl Process {
    /// Starts `fanfare serve` on free ports, with these arguments.
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", args, &[]).await
    }

    /// Starts `fanfare serve` on that address, with these arguments and that environment.
    pub(crate) async fn start_on(listen: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = fanfare_serve(listen);
        command.args(args).envs(environment.iter().copied());
        Self::started(command).await
    }

    /// Starts a broker with that command, and waits until it listens.
    pub(crate) async fn started(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let started = loop {
            let line = soon("the start", lines.next_line()).await.expect("it is UTF-8");
            let Some(line) = line else { panic!("it did not start: {}", log.lock().expect("sound")) };
            *log.lock().expect("sound") += &format!("{line}\n");
            let event: Value = serde_json::from_str(&line).expect("a log line is JSON");
            if event["fields"]["message"] == "started" {
                break event["fields"].clone();
            }
        };
        let address = |name: &str| {
            let address = started[name].as_str().and_then(|address| address.parse().ok());
            address.unwrap_or_else(|| panic!("no address: {started}"))
        };
        let (public, admin) = (address("public"), address("admin"));
        let read_no_more = CancellationToken::new();
        let mut this = Self { child, public, admin, log, reading: JoinSet::new(), read_no_more };
        this.read_log(lines);
        this
    }

    fn read_log(&mut self, mut lines: Lines<BufReader<ChildStderr>>) {
        let (to, read_no_more) = (Arc::clone(&self.log), self.read_no_more.clone());
        self.reading.spawn(async move {
            while let Some(Ok(Some(line))) = read_no_more.run_until_cancelled(lines.next_line()).await {
                *to.lock().expect("sound") += &format!("{line}\n");
            }
            lines
        });
    }

    /// Reads the log no more: it stands still as long as the result is kept, and then has no reader.
    pub(crate) async fn leave_log(&mut self) -> impl Sized + use<> {
        self.read_no_more.cancel();
        self.reading.join_next().await.expect("it is read").expect("reading does not panic")
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not ended")
    }

    /// What it holds in memory, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        fanfare_harness::memory_bytes_of(self.id())
    }

    /// How many files it has open, sockets among them; 0 where that cannot be told.
    pub(crate) fn open_files(&self) -> usize {
        let id = self.child.id().expect("it has not ended");
        std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
    }

    /// Sends it a signal: `TERM`, `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
    }

    /// Kills it without a word, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        soon("the end", self.child.kill()).await.expect("it has not ended");
    }

    /// Waits until it ends: how, and everything that it logged.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = soon("the end", self.child.wait()).await.expect("it can be waited for");
        // What it wrote last may still be on its way.
        while soon("the log's end", self.reading.join_next()).await.is_some() {}
        (status, self.log())
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("sound").clone()
    }
}
