//! What happens to processes, and what cannot be done to one from outside: see `data/shim.c`.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Process, fanfare_serve};
use crate::temp_file::TempFile;

/// The library of `data/shim.c`, and the file by which it is told what to do.
pub(crate) struct Shim {
    library: PathBuf,
    control: TempFile,
}

impl Shim {
    /// `None`, with a line that says so, where it cannot be built or used.
    pub(crate) fn build() -> Option<Self> {
        let control = TempFile::new(std::str::from_utf8(&[0; 24]).expect("ASCII"));
        let library = control.0.with_extension("so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        let is_built = cfg!(target_os = "linux") && cc.status().is_ok_and(|status| status.success());
        if !is_built {
            eprintln!("left out: it takes Linux and a C compiler (cc)");
        }
        is_built.then_some(Self { library, control })
    }

    /// A broker that it is loaded into, of one worker.
    pub(crate) async fn start(&self, args: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = fanfare_serve("127.0.0.1:0");
        command.args(args).env("FANFARE_SERVER__WORKERS", "1").envs(environment.iter().copied());
        command.env("LD_PRELOAD", &self.library).env("SHIM_CONTROL", self.control.path());
        Process::started(command).await
    }

    /// Sets the broker's wall clock so many seconds off.
    pub(crate) fn step_wall_clock(&self, seconds: i64) {
        self.tell(0, seconds);
    }

    /// Has the worker hang, or go on.
    pub(crate) fn hang(&self, hangs: bool) {
        self.tell(1, hangs.into());
    }

    /// Has the worker's steady clock fail once, which nothing is prepared for: what asks it panics.
    pub(crate) fn fail_clock(&self) {
        self.tell(2, 1);
    }

    /// Has the steady clock fail once for the worker's connection that reads something next.
    pub(crate) fn fail_clock_of_reader(&self) {
        self.tell(2, 2);
    }

    fn tell(&self, nth: u64, value: i64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.control.0).expect("it is there");
        file.write_all_at(&value.to_ne_bytes(), nth * 8).expect("it can be written to");
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.library));
    }
}
