//! Which broker is measured: the one given, the one that runs here, or one that is started for it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::broker::TOKEN_VARIABLE;
use crate::machine::greeting::{GREETING_MAX, Greeting, Listening, first_line};
use crate::machine::parent;
use crate::machine::pin::Pinning;
use crate::target::Target;

/// Where a broker listens that was started without further ado.
const USUAL_ADDRESS: &str = "127.0.0.1:8000";
/// How long a server that was started may take to end.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const STOP_TICK: Duration = Duration::from_millis(2);

/// A broker to put load on. One that was started for it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// Its processes, where they are known.
    pub(crate) pids: Vec<u32>,
    /// How it came to be this one, for people.
    pub(crate) how: String,
    /// Which processors are the broker's and which the load generator's, where that was asked for.
    pub(crate) pinning: Option<Pinning>,
    _own: Option<OwnServer>,
}

/// What a broker is to be like that is started here.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BrokerOptions<'a> {
    pub(crate) workers: Workers,
    /// The token without which nobody may do anything.
    pub(crate) token: Option<&'a str>,
    /// Whether anybody may do everything, and whoever brings a token has its signature verified.
    pub(crate) verifies: bool,
}

/// How many workers a broker has that is started here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Workers {
    /// One for each core.
    #[default]
    PerCore,
    /// So many; one that runs already may have others.
    Preferred(u32),
    /// So many, which can be told to none that runs already.
    Required(u32),
}

impl From<Option<u32>> for Workers {
    fn from(workers: Option<u32>) -> Self {
        workers.map_or(Self::PerCore, Self::Required)
    }
}

impl Workers {
    /// What the broker's own setting is.
    fn setting(self) -> u32 {
        match self {
            Self::PerCore => 0,
            Self::Preferred(workers) | Self::Required(workers) => workers,
        }
    }

    /// Refuses a number that cannot be told to a broker.
    ///
    /// # Errors
    /// Says `why` not, where there is a number that must be.
    fn ensure_free(self, why: &str) -> anyhow::Result<()> {
        ensure!(
            !matches!(self, Self::Required(_)),
            "--workers is for a broker that is started for the run, and {why}"
        );
        Ok(())
    }
}

/// Which broker is wanted.
#[derive(Debug, Clone)]
pub(crate) struct BrokerChoice {
    /// Where it is; else the one that runs here, or one that is started.
    pub(crate) url: Option<String>,
    pub(crate) target: Target,
    /// Its processes, where they are known and it is not started here.
    pub(crate) pids: Vec<u32>,
    /// Whether it runs on one half of the processors, and the load generator on the other.
    pub(crate) pin: bool,
}

impl Server {
    /// Finds or starts the broker that is wanted; if it was started here it will take payloads of `size` bytes, and
    /// have these `options`. Where [`pin`](BrokerChoice::pin) says so, it has its processors then, and this thread its own.
    pub(crate) async fn find(
        choice: &BrokerChoice,
        size: usize,
        options: BrokerOptions<'_>,
    ) -> anyhow::Result<Self> {
        let pinning = choice.pin.then(Pinning::new).transpose()?;
        let mut server = Self::find_with(choice, size, options, pinning.as_ref()).await?;
        if let Some(pinning) = &pinning {
            pinning.pin_servers(&server.pids)?;
            pinning.pin_own()?;
        }
        server.pinning = pinning;
        Ok(server)
    }

    async fn find_with(
        choice: &BrokerChoice,
        size: usize,
        options: BrokerOptions<'_>,
        pinning: Option<&Pinning>,
    ) -> anyhow::Result<Self> {
        let start = |args: &[&str]| match pinning {
            Some(pinning) => pinning.start_server(|| OwnServer::start(args, options.token)),
            None => OwnServer::start(args, options.token),
        };
        if let Some(url) = &choice.url {
            options
                .workers
                .ensure_free("--url names one that runs: its own setting server.workers says it")?;
            let pids = choice.pids.clone();
            return Ok(Self { url: url.clone(), pids, how: "given".into(), pinning: None, _own: None });
        }
        if choice.target == Target::Floor {
            options.workers.ensure_free("the floor has a thread for each core")?;
            let own = start(&["__floor"]).context("cannot start the floor")?;
            let greeted = own.greeted().await.context("cannot start the floor")?;
            return Ok(Self::own(greeted, "", ""));
        }
        ensure!(
            choice.target.is_fanfare(),
            "--target {} needs the --url of a server that runs; loadgen/compare/peers/start can start some",
            choice.target.name()
        );
        let there = timeout(Duration::from_secs(1), TcpStream::connect(USUAL_ADDRESS)).await;
        if matches!(there, Ok(Ok(_))) {
            let why = format!("one listens on {USUAL_ADDRESS} already: stop it, or leave --workers out");
            options.workers.ensure_free(&why)?;
            let how = "found running".to_owned();
            let pids = choice.pids.clone();
            return Ok(Self {
                url: format!("ws://{USUAL_ADDRESS}/ws"),
                pids,
                how,
                pinning: None,
                _own: None,
            });
        }
        if let Some(pid) = choice.pids.first() {
            bail!("nothing listens on {USUAL_ADDRESS}: give the --url at which process {pid} does");
        }
        let (message_size, workers) = (message_size(size).to_string(), options.workers.setting().to_string());
        let cannot = "cannot start a broker; start one and give its --url";
        let mut args = vec!["__broker", "--message-size", &message_size, "--workers", &workers];
        args.extend(options.verifies.then_some("--verifies"));
        let own = start(&args);
        let greeted = own.context(cannot)?.greeted().await.context(cannot)?;
        let mut why = format!(", because nothing listens on {USUAL_ADDRESS}");
        if let Workers::Preferred(workers) | Workers::Required(workers) = options.workers {
            why += &format!("; {workers} worker{}", if workers == 1 { "" } else { "s" });
        }
        Ok(Self::own(greeted, "/ws", &why))
    }

    /// Which processors are the server's and which the load generator's, as a report says it.
    pub(crate) fn pinned(&self) -> Option<String> {
        let pinning = self.pinning.as_ref()?;
        Some(if self.pids.is_empty() { pinning.sentence_of_own() } else { pinning.sentence() })
    }

    fn own((own, listening): (OwnServer, Listening), path: &str, why: &str) -> Self {
        let Listening { address, process, .. } = listening;
        let how = format!("started for this run, process {process}{why}");
        Self {
            url: format!("ws://{address}{path}"),
            pids: vec![process],
            how,
            pinning: None,
            _own: Some(own),
        }
    }
}

/// This program again, with a hidden command: it is a server, or keeps one, until its standard input ends.
#[derive(Debug)]
struct OwnServer(Child);

impl OwnServer {
    /// Starts it; it has yet to be [greeted](Self::greeted).
    fn start(args: &[&str], token: Option<&str>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).env_remove(TOKEN_VARIABLE).envs(token.map(|token| (TOKEN_VARIABLE, token)));
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// The server with what it says of itself.
    async fn greeted(mut self) -> anyhow::Result<(Self, Listening)> {
        let stdout = self.0.stdout.take().context("it is piped")?;
        let line = first_line(stdout, GREETING_MAX).await?;
        if line.is_empty() {
            bail!("it ended at once: {}", self.0.wait().await?);
        }
        Ok((self, Greeting::hear(&line)?))
    }

    /// Ends it, if it has not ended by itself.
    #[expect(clippy::disallowed_methods, reason = "nothing else is to be done when a run is over")]
    fn end(&mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        let asked = Instant::now();
        while self.0.try_wait()?.is_none() {
            if asked.elapsed() > STOP_MAX {
                self.0.start_kill()?;
                let kept = if parent::ENDS_CHILDREN { "" } else { ", and may have left a broker behind" };
                bail!("it took longer than {STOP_MAX:?} to end and was killed{kept}");
            }
            std::thread::sleep(STOP_TICK);
        }
        Ok(())
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            eprintln!("could not stop the server that was started: {e}");
        }
    }
}

/// The broker's bound for a message that carries a payload of `size` bytes.
fn message_size(size: usize) -> u64 {
    (size as u64 + 1024).max(64 * 1024)
}
