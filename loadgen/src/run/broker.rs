//! The broker that is started where there is none: the program `fanfare`, kept by this one with a hidden command.
//!
//! The keeper is a process of its own, so that the broker ends with the load generator however that ends: its
//! standard input is a pipe from there, and ends even when the load generator is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::program;
use crate::machine::greeting::{Greeting, Listening};

/// The variable that holds a keeper's `--token`: a command line can be read by everybody.
pub(super) const TOKEN_VARIABLE: &str = "FANFARE_LOADGEN_TOKEN";

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
    token: [Token; 1],
}

#[derive(Debug, Serialize)]
struct Token {
    user: &'static str,
    token: String,
    subscribe: [&'static str; 1],
    publish: [&'static str; 1],
}

impl BrokerArgs {
    fn config(&self) -> BrokerConfig {
        let free = "127.0.0.1:0";
        let may = |token: &String| Token {
            user: "the one who may",
            token: token.clone(),
            subscribe: ["*"],
            publish: ["*"],
        };
        BrokerConfig {
            server: ServerConfig { listen: free, admin_listen: free, workers: self.workers },
            limits: Limits { message_size: format!("{}B", self.message_size) },
            access: self.token.as_ref().map(|token| Access { token: [may(token)] }),
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

/// What a keeper waits for.
enum KeeperEnd {
    /// Its standard input.
    Input,
    /// The broker's log, whose last line this is.
    Log(String),
}

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
    let (mut broker, mut log, listening) = match start(args) {
        Ok(started) => started,
        Err(e) => return Greeting::NotStarted(format!("{e:#}")).say(),
    };
    Greeting::Listening(listening).say()?;
    let (ended, what) = mpsc::sync_channel(2);
    let input = ended.clone();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        input.send(KeeperEnd::Input).ok();
    });
    std::thread::spawn(move || ended.send(KeeperEnd::Log(read_to_end(&mut log))));
    match what.recv().context("both threads have ended")? {
        KeeperEnd::Input => Ok(()),
        KeeperEnd::Log(last) => bail!("the broker has ended: {}; its last words: {last}", broker.end()?),
    }
}

/// Starts the program; waits until it says where it listens.
fn start(args: &BrokerArgs) -> anyhow::Result<(Broker, BufReader<ChildStderr>, Listening)> {
    let program = program::find()?;
    let mut command = Command::new(&program);
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
    let (log, listening) = greet(&mut broker, &args.config(), &program)?;
    Ok((broker, log, listening))
}

/// Gives it its configuration and reads its log until it listens.
fn greet(
    broker: &mut Broker,
    config: &BrokerConfig,
    program: &Path,
) -> anyhow::Result<(BufReader<ChildStderr>, Listening)> {
    let process = broker.0.id();
    let config = toml::to_string(config).context("its configuration is no TOML")?;
    // Where it has ended already its log says why.
    broker.0.stdin.take().context("it is piped")?.write_all(config.as_bytes()).ok();
    let mut log = BufReader::new(broker.0.stderr.take().context("it is piped")?);
    let mut last = String::new();
    loop {
        let mut text = String::new();
        if log.read_line(&mut text)? == 0 {
            bail!("{} does not start: {}", program.display(), reason(&last, broker.end()?));
        }
        let line = serde_json::from_str::<LogLine>(&text);
        if let Ok(LogLine { fields: Fields { message, public: Some(address), version, .. } }) = line
            && message == "started"
        {
            let version = version.map_or_else(|| "fanfare".to_owned(), |it| format!("fanfare {it}"));
            return Ok((log, Listening { address, process, version }));
        }
        last = text;
    }
}

/// Why it has ended: as its last line says, or else how.
fn reason(last: &str, status: ExitStatus) -> String {
    let error = serde_json::from_str::<LogLine>(last).ok().and_then(|line| line.fields.error);
    let words = error.unwrap_or_else(|| last.trim().to_owned());
    if words.is_empty() { status.to_string() } else { words }
}

/// The last line of a log, once it has ended. Whatever is said before that nobody waits for.
fn read_to_end(log: &mut BufReader<ChildStderr>) -> String {
    let (mut last, mut line) = (Vec::new(), Vec::new());
    while log.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    String::from_utf8_lossy(&last).trim().to_owned()
}
