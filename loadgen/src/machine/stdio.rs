//! Standard input and output: where a report goes, and how a server that was started talks with whoever did that.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;

/// Prints to standard output; a reader that has left is nothing to complain about.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("cannot write the report"),
        _ => Ok(()),
    }
}

/// Says on standard output where a server listens that was started for a run.
pub fn say_address(address: SocketAddr) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    Ok(stdout.flush()?)
}

/// Returns when standard input ends: whoever started this process holds the other end, and lets go of it
/// even when it is killed.
pub async fn until_let_go() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
