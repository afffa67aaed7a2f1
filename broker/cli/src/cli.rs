//! The command line.

pub(crate) mod admin;
pub(crate) mod args;
pub(crate) mod config;
pub(crate) mod logging;
pub(crate) mod output;
pub(crate) mod publish;
pub(crate) mod self_signed;
pub(crate) mod serve;
pub(crate) mod subscribe;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod untrusted;

use clap::CommandFactory;
use clap_complete::Shell;

/// Prints a shell's completions.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::Args::command(), "fanfare", &mut script);
    output::data(&script)
}

/// A runtime for a command that does one thing.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
