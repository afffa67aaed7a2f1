//! The floor: a server that does nothing but send. It must know nothing of what measures it.
//!
//! What it costs is what the kernel charges for a system call and a WebSocket frame per delivery; no server that
//! sends each by itself can be cheaper.
//!
//! Its protocol is the smallest there is: `S:TOPIC` subscribes and is answered `OK S:TOPIC`,
//! `P:TOPIC:PAYLOAD` publishes. Each of its threads owns a share of the sockets; a publication goes to
//! all threads, and each sends it to its own subscribers in a plain loop. Nothing is queued for a
//! subscriber: one whose socket is full is cut off and counted, so that nothing is lost without a word.

mod frames;
mod share;

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use fanfare_loadgen_core::machine::cores::cores;
use fanfare_loadgen_core::machine::greeting::{Greeting, Listening};
use fanfare_loadgen_core::machine::limits;
use fanfare_loadgen_core::machine::stdio::until_let_go;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use share::{Command, Share};

/// How many sockets and publications may wait for a thread; then whoever brings more waits.
const WAITING_MAX: usize = 1024;

/// The arguments of the floor.
#[derive(Debug, Clone, Args)]
pub struct FloorArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// How many threads own a share of the sockets [default: one per core].
    #[arg(long)]
    pub threads: Option<u32>,
}

/// Runs the floor until standard input ends; says on standard output where it listens.
pub async fn run(args: &FloorArgs) -> anyhow::Result<()> {
    limits::raise_file_limit();
    let listener = TcpListener::bind(args.listen).await.context("cannot listen")?;
    let threads = args.threads.unwrap_or_else(cores).max(1);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(WAITING_MAX)).unzip();
    for (n, commands) in receivers.into_iter().enumerate() {
        let all = senders.clone();
        let work = move || -> std::io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, Share::new(all).run(commands));
            Ok(())
        };
        std::thread::Builder::new()
            .name(format!("floor-{n}"))
            .spawn(work)
            .context("cannot start a thread")?;
    }
    let (address, process) = (listener.local_addr()?, std::process::id());
    Greeting::Listening(Listening { address, process, version: "of this program".into() }).say()?;
    tokio::select! {
        ended = until_let_go() => ended,
        error = distribute(&listener, &senders) => error,
    }
}

/// Hands each connection to the next thread.
async fn distribute(listener: &TcpListener, threads: &[mpsc::Sender<Command>]) -> anyhow::Result<()> {
    for thread in threads.iter().cycle() {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true).ok();
        thread.send(Command::Serve(stream.into_std()?)).await.context("a thread has ended")?;
    }
    Ok(())
}
