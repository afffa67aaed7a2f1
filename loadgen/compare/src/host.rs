//! The server of a contender, while it runs.

use std::fs::File;
use std::net::TcpListener as FreePort;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fanfare_loadgen_core::machine::greeting::{GREETING_MAX, Greeting, Listening, first_line};
use fanfare_loadgen_core::machine::parent;
use fanfare_loadgen_core::machine::pin::Pinning;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::contender::{Contender, Origin};

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// How long it may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long the kernel gets to forget a server's connections before the next is started.
const PAUSE: Duration = Duration::from_millis(300);

/// A server that can be measured. One that was started here ends with this value at the latest.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) url: String,
    /// Its process, where that is known.
    pub(crate) pid: Option<u32>,
    /// Which it is, in its own words.
    pub(crate) version: String,
    own: Option<OwnHost>,
}

#[derive(Debug)]
struct OwnHost {
    child: Child,
    complaints: Complaints,
    ending: Ending,
}

/// What ends a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Its standard input ends. So it must not be killed before, where what it keeps would be left behind.
    Input,
    /// A signal asks it to.
    Signal,
}

impl Host {
    /// Starts the server, on its processors where they are shared out, or finds the one that runs.
    pub(crate) async fn start(
        contender: &Contender,
        peers: &Path,
        pinning: Option<&Pinning>,
    ) -> anyhow::Result<Self> {
        match &contender.origin {
            Origin::Running { url, pid } => {
                if let Some(pid) = pid {
                    ensure!(Path::new(&format!("/proc/{pid}")).exists(), "there is no process {pid}");
                }
                Ok(Self { url: url.clone(), pid: *pid, version: "started by hand".into(), own: None })
            }
            Origin::Fanfare | Origin::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(contender.own_command());
                let (own, line) = OwnHost::start(&contender.name, command, pinning, Ending::Input).await?;
                let Listening { address, process, version } =
                    Greeting::hear(&line).context("it does not start")?;
                Ok(own.listening_at(&address.to_string(), Some(process), version))
            }
            Origin::Peer => {
                let port = FreePort::bind("127.0.0.1:0")?.local_addr()?.port();
                let mut command = Command::new(peers.join("start"));
                command.args([&contender.name, &port.to_string()]);
                let (mut own, first_line) =
                    OwnHost::start(&contender.name, command, pinning, Ending::Signal).await?;
                let address = format!("127.0.0.1:{port}");
                own.wait_until_it_listens(&address).await?;
                let version = first_line.split_once(", process").map_or(&*first_line, |(version, _)| version);
                let process = own.child.id();
                Ok(own.listening_at(&address, process, version.to_owned()))
            }
        }
    }

    /// Whether the server has ended by itself, and with which words.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let own = self.own.as_mut()?;
        let status = own.child.try_wait().ok().flatten()?;
        Some(format!("the server has ended: {status}{}", own.complaints.last()))
    }

    /// Stops the server if it was started here, and waits until it is gone.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Some(mut own) = self.own else { return Ok(()) };
        drop(own.child.stdin.take());
        let pid = own.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let (Ending::Signal, Some(pid)) = (own.ending, pid) {
            kill_process(pid, Signal::TERM).context("cannot stop the server")?;
        }
        if timeout(STOP_MAX, own.child.wait()).await.is_err() {
            own.child.kill().await.context("cannot kill the server")?;
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

impl OwnHost {
    /// Starts a server; returns it with its first line.
    async fn start(
        name: &str,
        mut command: Command,
        pinning: Option<&Pinning>,
        ending: Ending,
    ) -> anyhow::Result<(Self, String)> {
        let complaints = Complaints::new(name);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.file()?)
            .kill_on_drop(ending == Ending::Signal || parent::ENDS_CHILDREN);
        let program = command.as_std().get_program().to_owned();
        let mut spawn = || command.spawn().with_context(|| format!("cannot start {}", program.display()));
        let child = match pinning {
            Some(pinning) => pinning.start_server(spawn)?,
            None => spawn()?,
        };
        let mut own = Self { child, complaints, ending };
        let line = first_line(own.child.stdout.take().expect("it is piped"), GREETING_MAX).await?;
        if line.is_empty() {
            let status = own.child.wait().await?;
            bail!("it does not start: {status}{}", own.complaints.last());
        }
        Ok((own, line))
    }

    async fn wait_until_it_listens(&mut self, address: &str) -> anyhow::Result<()> {
        let connected = async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("it does not start: {status}{}", self.complaints.last());
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(START_MAX, connected).await.context("it does not listen")?
    }

    fn listening_at(self, address: &str, pid: Option<u32>, version: String) -> Host {
        Host { url: format!("ws://{address}"), pid, version, own: Some(self) }
    }
}

/// What a server writes to standard error: a file, so that nobody has to read it while it runs.
#[derive(Debug)]
struct Complaints(PathBuf);

impl Complaints {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("fanfare-compare-{}-{name}.log", std::process::id())))
    }

    fn file(&self) -> anyhow::Result<File> {
        File::create(&self.0).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// The last line, as the end of a sentence.
    fn last(&self) -> String {
        let text = std::fs::read(&self.0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map_or_else(String::new, |line| format!("; its last words: {}", line.trim()))
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_file(&self.0)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}
