//! `fanfare`: the broker and its command line.
//!
//! The program is a crate of its own beside the broker's library, which therefore knows no command line, allocator or
//! client, nor where its log goes. Whoever takes the broker into a program of theirs gets none of these.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::args::{Args, Command, ConfigCommand};
use cli::output;

/// Measured against the system's and mimalloc: the least memory for idle connections, and no more processor
/// time (docs/architecture.md).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // clap exits with 2 on bad usage.
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::AlreadySaid>() => ExitCode::FAILURE,
        Err(error) => {
            output::notice(&format!("fanfare: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(Args { command, serve }: Args) -> anyhow::Result<()> {
    match command {
        None => cli::serve::run(serve),
        Some(Command::Admin(args)) => cli::admin::run(args),
        Some(Command::Completions { shell }) => cli::completions(shell),
        Some(Command::Config(ConfigCommand::Check { file, config })) => {
            cli::config::check(file.or(config).as_deref())
        }
        Some(Command::Config(ConfigCommand::Default)) => cli::config::default(),
        Some(Command::Pub(args)) => cli::publish::run(args),
        Some(Command::Serve(serve)) => cli::serve::run(serve),
        Some(Command::Sub(args)) => cli::subscribe::run(args),
        Some(Command::Token(command)) => cli::token::run(command),
        Some(Command::Top(args)) => cli::top::run(args),
    }
}
