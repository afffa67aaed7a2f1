//! Data goes to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

/// Writes data.
pub(crate) fn data(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Writes one line of data.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    data(format!("{text}\n").as_bytes())
}

/// Whether a person reads the data.
pub(crate) fn is_for_people() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person can press keys.
pub(crate) fn can_be_asked() -> bool {
    io::stdin().is_terminal()
}

/// Writes a line for people; nobody is there to be told when that fails.
pub(crate) fn notice(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Something failed, and the log has said so.
#[derive(Debug, thiserror::Error)]
#[error("see the log")]
pub(crate) struct AlreadySaid;

/// Whether the reader of our output has gone.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The text with control characters made visible: what comes from strangers must not steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
