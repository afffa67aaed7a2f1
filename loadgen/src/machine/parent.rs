//! A process that ends with the one that has started it, however that ends.
//!
//! A process can ask for that only itself, and it holds when it becomes another program: so this program is started
//! first, asks, and becomes the one that is wanted. To ask between the two halves of a start would be unsafe.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

/// The hidden command that is started first.
pub const COMMAND: &str = "__tied";

/// Whether the system ends a process with its parent. Elsewhere one that is killed leaves its children behind.
pub const ENDS_CHILDREN: bool = cfg!(target_os = "linux");

/// The arguments of a program that ends with its parent.
#[derive(Debug, Clone, Args)]
pub struct TiedArgs {
    /// The process that has started this one.
    #[arg(long)]
    parent: i32,
    /// What this process becomes: a program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

/// What starts a program that ends with the thread that starts it, where the system can do that.
///
/// # Errors
/// It is not known where this program is.
pub fn tied(program: &Path) -> std::io::Result<Command> {
    if !ENDS_CHILDREN {
        return Ok(Command::new(program));
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args([COMMAND, "--parent", &std::process::id().to_string()]).arg(program);
    Ok(command)
}

/// Becomes the program, and ends with the parent from now on; returns only where that fails.
pub fn become_tied(args: &TiedArgs) -> anyhow::Error {
    let TiedArgs { parent, program } = args;
    if let Err(e) = end_with(*parent) {
        return e;
    }
    let Some((name, arguments)) = program.split_first() else {
        return anyhow::anyhow!("there is no program");
    };
    let e = Command::new(name).args(arguments).exec();
    anyhow::Error::new(e).context(format!("cannot start {}", Path::new(name).display()))
}

/// Has the system kill this process when its parent ends.
#[cfg(target_os = "linux")]
fn end_with(parent: i32) -> anyhow::Result<()> {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the parent")?;
    // One that has ended before says nothing any more.
    anyhow::ensure!(getppid() == Pid::from_raw(parent), "the parent, process {parent}, has ended");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn end_with(_: i32) -> anyhow::Result<()> {
    Ok(())
}
