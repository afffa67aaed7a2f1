//! Standard input and output: where a report goes, and how a server that was started knows that it is no longer wanted.

use std::io::Write as _;

use anyhow::Context as _;

/// Prints to standard output; a reader that has left is nothing to complain about.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("cannot write the report"),
        _ => Ok(()),
    }
}

/// Returns when standard input ends: whoever started this process holds the other end, and lets go of it
/// even when it is killed.
pub async fn until_let_go() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
