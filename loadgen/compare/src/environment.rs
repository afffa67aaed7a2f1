//! The machine on which a comparison was made: what its figures depend on.

use std::fs::read_to_string;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::redact;

/// The machine, the moment and the command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    /// Its version number alone.
    pub(crate) kernel: String,
    pub(crate) system: String,
    /// The day of the run, in UTC.
    pub(crate) date: String,
    /// What was typed, without paths and secrets.
    pub(crate) command: String,
}

impl Environment {
    /// The environment of this machine, as far as Linux tells.
    pub(crate) fn of_this_machine() -> Self {
        let cpu = after(&read("/proc/cpuinfo"), "model name", ':');
        let memory = after(&read("/proc/meminfo"), "MemTotal", ':');
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let arguments = std::env::args().skip(1).map(quoted);
        let mut environment = Self {
            cpu: if cpu.is_empty() { std::env::consts::ARCH.to_owned() } else { cpu },
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_bytes: 1024 * kib,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: after(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
            date: humantime::format_rfc3339_seconds(SystemTime::now())
                .to_string()
                .replace(['T', 'Z'], " ")
                .trim()
                .to_owned(),
            command: std::iter::once("fanfare-loadgen".to_owned())
                .chain(arguments)
                .collect::<Vec<_>>()
                .join(" "),
        };
        environment.redact();
        environment
    }

    /// Leaves out what is nobody's business. An older file may still hold it.
    pub(crate) fn redact(&mut self) {
        self.command = redact::command(&self.command);
        let version = |c: char| c.is_ascii_digit() || c == '.';
        let end = self.kernel.find(|c| !version(c)).unwrap_or(self.kernel.len());
        self.kernel.truncate(end);
    }
}

/// A file that may not be there.
fn read(path: &str) -> String {
    read_to_string(path).unwrap_or_default()
}

/// What stands after `key` and `separator` in the first line that begins so.
fn after(text: &str, key: &str, separator: char) -> String {
    let value =
        |line: &str| Some(line.strip_prefix(key)?.trim_start().strip_prefix(separator)?.trim().to_owned());
    text.lines().find_map(value).unwrap_or_default()
}

/// An argument as a shell would take it.
fn quoted(argument: String) -> String {
    if argument.contains(' ') { format!("'{argument}'") } else { argument }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_behind_their_key() {
        let text = "MemFree: 1 kB\nmodel name\t: Some CPU @ 3 GHz\nNAME=\"x\"\n";
        assert_eq!(after(text, "model name", ':'), "Some CPU @ 3 GHz");
        assert_eq!(after(text, "NAME", '='), "\"x\"");
        assert_eq!(after(text, "MemTotal", ':'), "");
    }

    #[test]
    fn of_the_kernel_the_version_number_is_kept() {
        for (kernel, version) in [("6.18.44-cloud", "6.18.44"), ("6.1.0", "6.1.0"), ("", "")] {
            let mut environment = Environment { kernel: kernel.into(), ..Environment::default() };
            environment.redact();
            assert_eq!(environment.kernel, version);
        }
    }

    #[test]
    fn a_command_can_be_typed_again() {
        assert_eq!(quoted("rooms --topics 2".into()), "'rooms --topics 2'");
        assert_eq!(quoted("--rounds".into()), "--rounds");
    }
}
