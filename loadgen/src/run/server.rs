//! Which broker is measured: the one given, the one that runs here, or one that is started for it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::machine::pin::Pinning;
use crate::target::Target;

/// Where a broker listens that was started without further ado.
const USUAL_ADDRESS: &str = "127.0.0.1:8000";

/// A broker to put load on. One that was started for it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// Its processes, where they are known.
    pub(crate) pids: Vec<u32>,
    /// How it came to be this one, for people.
    pub(crate) how: String,
    /// Whose processors are which, where that was asked for.
    pub(crate) pinning: Option<Pinning>,
    _own: Option<OwnBroker>,
}

/// Which broker is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Where it is; else the one that runs here, or one that is started.
    pub(crate) url: Option<String>,
    pub(crate) target: Target,
    /// Its processes, where they are known and it is not started here.
    pub(crate) pids: Vec<u32>,
    /// Whether it runs on one half of the processors, and the load generator on the other.
    pub(crate) pin: bool,
}

impl Server {
    /// Finds or starts the broker that is wanted; it will take payloads of `size` bytes if it was started
    /// here, and then gets `further` [arguments](super::broker::BrokerArgs).
    /// Where [`pin`](Wanted::pin) says so, it has its processors then, and this thread its own.
    pub(crate) async fn find(wanted: &Wanted, size: usize, further: &[&str]) -> anyhow::Result<Self> {
        let pinning = wanted.pin.then(Pinning::new).transpose()?;
        let mut server = Self::find_with(wanted, size, further, pinning.as_ref()).await?;
        if let Some(pinning) = &pinning {
            pinning.pin_servers(&server.pids)?;
            pinning.pin_own()?;
        }
        server.pinning = pinning;
        Ok(server)
    }

    async fn find_with(
        wanted: &Wanted,
        size: usize,
        further: &[&str],
        pinning: Option<&Pinning>,
    ) -> anyhow::Result<Self> {
        let start = |args: &[&str]| match pinning {
            Some(pinning) => pinning.start_server(|| OwnBroker::start(args)),
            None => OwnBroker::start(args),
        };
        if let Some(url) = &wanted.url {
            let pids = wanted.pids.clone();
            return Ok(Self { url: url.clone(), pids, how: "given".into(), pinning: None, _own: None });
        }
        if wanted.target == Target::Floor {
            let own = start(&["__floor"]).context("cannot start the floor")?;
            return Ok(Self::own(own, "", ""));
        }
        ensure!(
            wanted.target.is_fanfare(),
            "--target {} needs the --url of a server that runs; loadgen/compare/peers/start can start some",
            wanted.target.name()
        );
        let there = timeout(Duration::from_secs(1), TcpStream::connect(USUAL_ADDRESS)).await;
        if matches!(there, Ok(Ok(_))) {
            let how = "found running".to_owned();
            let pids = wanted.pids.clone();
            return Ok(Self {
                url: format!("ws://{USUAL_ADDRESS}/ws"),
                pids,
                how,
                pinning: None,
                _own: None,
            });
        }
        if let Some(pid) = wanted.pids.first() {
            bail!("nothing listens on {USUAL_ADDRESS}: give the --url at which process {pid} does");
        }
        let message_size = message_size(size).to_string();
        let arguments = [&["__broker", "--message-size", &message_size], further].concat();
        let own = start(&arguments).context("cannot start a broker; start one and give its --url")?;
        Ok(Self::own(own, "/ws", &format!(", because nothing listens on {USUAL_ADDRESS}")))
    }

    fn own((own, address): (OwnBroker, String), path: &str, why: &str) -> Self {
        let pid = own.0.id();
        let how = format!("started for this run, process {pid}{why}");
        Self { url: format!("ws://{address}{path}"), pids: vec![pid], how, pinning: None, _own: Some(own) }
    }
}

/// A server in a process of its own: this program again, with a hidden command.
#[derive(Debug)]
struct OwnBroker(Child);

impl OwnBroker {
    /// Starts it; returns it with the address on which it listens.
    fn start(args: &[&str]) -> anyhow::Result<(Self, String)> {
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut own = Self(child);
        let mut address = String::new();
        BufReader::new(own.0.stdout.take().expect("it is piped")).read_line(&mut address)?;
        if address.is_empty() {
            bail!("it ended at once: {}", own.0.wait()?);
        }
        Ok((own, address.trim_end().to_owned()))
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        // It holds nothing that is worth a farewell.
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {
            eprintln!("could not stop the broker that was started, process {}", self.0.id());
        }
    }
}

/// The broker's bound for a message that carries a payload of `size` bytes.
fn message_size(size: usize) -> u64 {
    (size as u64 + 1024).max(64 * 1024)
}
