//! The broker that is started where there is none: the program `fanfare`, kept by this one with a hidden command.
//!
//! The keeper is a process of its own, so that the broker ends with the load generator however that ends: its
//! standard input is a pipe from there, and ends even when the load generator is killed. Where the keeper itself is
//! killed the broker ends with it on Linux; on other systems it is left behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::program;
use crate::machine::greeting::{Greeting, Listening};
use crate::machine::parent;

/// The variable that holds a keeper's `--token`: a command line can be read by everybody.
pub(super) const TOKEN_VARIABLE: &str = "FANFARE_LOADGEN_TOKEN";

/// By what a broker verifies tokens of which none is good. Whoever knows it may do there what anybody may.
const SECRET: &str = "nobody signs by this: what is brought is forged";

/// The arguments of the broker that is started where there is none.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// Largest message that it takes, in bytes.
    #[arg(long)]
    message_size: u64,
    /// How many workers it has [default: one per core].
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// The token without which nobody may do anything.
    #[arg(long, env = TOKEN_VARIABLE, hide_env_values = true)]
    token: Option<String>,
    /// Whether anybody may do everything, and whoever brings a token has its signature verified.
    #[arg(long, conflicts_with = "token")]
    verifies: bool,
    /// How long the broker may take to say where it listens.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    start_max: Duration,
}

/// Its configuration, as far as it is not the default.
#[derive(Debug, Serialize)]
struct BrokerConfig {
    server: ServerConfig,
    limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
}

#[derive(Debug, Serialize)]
struct ServerConfig {
    listen: &'static str,
    admin_listen: &'static str,
    workers: usize,
}

#[derive(Debug, Serialize)]
struct Limits {
    message_size: String,
}

#[derive(Debug, Serialize)]
struct Access {
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous: Option<Rights>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<[Token; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<[Key; 1]>,
}

#[derive(Debug, Serialize)]
struct Token {
    user: &'static str,
    token: String,
    #[serde(flatten)]
    rights: Rights,
}

#[derive(Debug, Serialize)]
struct Key {
    secret: &'static str,
}

#[derive(Debug, Serialize)]
struct Rights {
    subscribe: [&'static str; 1],
    publish: [&'static str; 1],
}

impl BrokerArgs {
    fn config(&self) -> BrokerConfig {
        let free = "127.0.0.1:0";
        let all = || Rights { subscribe: ["*"], publish: ["*"] };
        let access = match &self.token {
            Some(token) => {
                let may = Token { user: "the one who may", token: token.clone(), rights: all() };
                Some(Access { anonymous: None, token: Some([may]), jwt: None })
            }
            None => self.verifies.then(|| Access {
                anonymous: Some(all()),
                token: None,
                jwt: Some([Key { secret: SECRET }]),
            }),
        };
        BrokerConfig {
            server: ServerConfig { listen: free, admin_listen: free, workers: self.workers },
            limits: Limits { message_size: format!("{}B", self.message_size) },
            access,
        }
    }
}

/// A line of its log, as far as it is of interest.
#[derive(Debug, Deserialize)]
struct LogLine {
    fields: Fields,
}

#[derive(Debug, Deserialize)]
struct Fields {
    message: String,
    public: Option<SocketAddr>,
    version: Option<String>,
    error: Option<String>,
}

/// What a keeper is told, by the threads that read.
enum Notice {
    /// The broker listens.
    Started { address: SocketAddr, version: String },
    /// The broker's log has ended, and this is its last line.
    LogEnded(String),
    /// The keeper's standard input has ended.
    InputEnded,
}

/// Each of them comes once.
const NOTICES_MAX: usize = 3;

/// The program while it runs. It ends with this value.
struct Broker(Child);

impl Broker {
    /// Ends it, if it has not ended by itself. It holds nothing that is worth a farewell.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            eprintln!("cannot stop the broker, process {}: {e}", self.0.id());
        }
    }
}

/// Runs a broker on free loopback ports until standard input ends; says on standard output where, or why not.
pub fn run(args: &BrokerArgs) -> anyhow::Result<()> {
    let (notify, notices) = mpsc::sync_channel(NOTICES_MAX);
    let (mut broker, listening) = match start(args, notify.clone(), &notices) {
        Ok(started) => started,
        Err(e) => return Greeting::NotStarted(format!("{e:#}")).say(),
    };
    Greeting::Listening(listening).say()?;
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        notify.send(Notice::InputEnded).ok();
    });
    loop {
        match notices.recv().context("both threads have ended")? {
            Notice::InputEnded => return Ok(()),
            Notice::LogEnded(last) => {
                bail!("the broker has ended: {}; its last words: {last}", broker.end()?)
            }
            // It has been greeted.
            Notice::Started { .. } => {}
        }
    }
}

/// Starts the program; waits until it says where it listens.
fn start(
    args: &BrokerArgs,
    notify: SyncSender<Notice>,
    notices: &Receiver<Notice>,
) -> anyhow::Result<(Broker, Listening)> {
    let program = program::find()?;
    // The broker ends with the thread that starts it: this is the keeper's first, and the last.
    let mut command = parent::tied(&program).context("it is not known where this program is")?;
    // What is in the environment for a broker of somebody else is not for this one.
    let of_brokers = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b"FANFARE_");
    std::env::vars_os().filter(|(name, _)| of_brokers(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    let child = command
        .args(["serve", "--config", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut broker = Broker(child);
    let config = toml::to_string(&args.config()).context("its configuration is no TOML")?;
    // Where it has ended already its log says why.
    broker.0.stdin.take().context("it is piped")?.write_all(config.as_bytes()).ok();
    let log = broker.0.stderr.take().context("it is piped")?;
    std::thread::spawn(move || follow(log, &notify));
    let listening = greet(&mut broker, notices, args.start_max, &program)?;
    Ok((broker, listening))
}

/// Waits until the broker listens.
fn greet(
    broker: &mut Broker,
    notices: &Receiver<Notice>,
    most: Duration,
    program: &Path,
) -> anyhow::Result<Listening> {
    let why = match notices.recv_timeout(most) {
        Ok(Notice::Started { address, version }) => {
            return Ok(Listening { address, process: broker.0.id(), version });
        }
        Ok(Notice::LogEnded(last)) => reason(&last, broker.end()?),
        Ok(Notice::InputEnded) | Err(RecvTimeoutError::Disconnected) => "nobody reads its log".to_owned(),
        Err(RecvTimeoutError::Timeout) => {
            format!("it has not said for {} where it listens", humantime::format_duration(most))
        }
    };
    bail!("{} does not start: {why}", program.display());
}

/// Why it has ended: as its last line says, or else how.
fn reason(last: &str, status: ExitStatus) -> String {
    let error = serde_json::from_str::<LogLine>(last).ok().and_then(|line| line.fields.error);
    let words = error.unwrap_or_else(|| last.trim().to_owned());
    if words.is_empty() { status.to_string() } else { words }
}

/// Reads the broker's log until it ends, and tells of the line that says where it listens and of the last one.
fn follow(log: ChildStderr, notify: &SyncSender<Notice>) {
    let mut log = BufReader::new(log);
    let (mut last, mut line, mut has_started) = (Vec::new(), Vec::new(), false);
    while log.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if !has_started && let Some(started) = started(&line) {
            has_started = true;
            notify.send(started).ok();
        }
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    let last = String::from_utf8_lossy(&last).trim().to_owned();
    notify.send(Notice::LogEnded(last)).ok();
}

/// What a line of the log says, if it is the one that the broker listens.
fn started(line: &[u8]) -> Option<Notice> {
    let LogLine { fields: Fields { message, public, version, .. } } = serde_json::from_slice(line).ok()?;
    let version = version.map_or_else(|| "fanfare".to_owned(), |it| format!("fanfare {it}"));
    (message == "started").then_some(Notice::Started { address: public?, version })
}
