//! What the system must allow for a run: open files, and ports to connect from.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::plan::Plan;

/// Files besides the connections: standard streams, pollers, timers, libraries.
const OTHER_FILES: u64 = 100;
/// What most systems allow, where this one does not say.
const PORTS_USUAL: u64 = 28_000;
/// More than anybody opens; beyond it the kernel may refuse.
const FILES_WANTED: u64 = 1_048_576;

/// Raises the limit of open files as far as it may be. Processes started later inherit it.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Whoever runs as root may raise the hard limit too.
    for maximum in [limit.maximum.map(|maximum| maximum.max(FILES_WANTED)), limit.maximum] {
        if setrlimit(Resource::Nofile, Rlimit { current: maximum.or(Some(FILES_WANTED)), maximum }).is_ok() {
            return;
        }
    }
}

/// Checks that the system allows all connections of the run.
///
/// # Errors
/// Says what is short and what to do about it.
pub(crate) fn check(plan: &Plan) -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let loopback = plan.server.address.ip().is_loopback();
    let ports = loopback.then(ports_per_address);
    check_connections(plan.connections(), files, ports, u64::from(plan.source_addresses))
}

fn check_connections(connections: u64, files: u64, ports: Option<u64>, sources: u64) -> anyhow::Result<()> {
    ensure!(
        connections + OTHER_FILES <= files,
        "{connections} connections need a limit of {} open files, and it is {files}: raise it with \
         `ulimit -n`, or in the limits of the system",
        connections + OTHER_FILES
    );
    let ports = ports.unwrap_or(connections);
    ensure!(
        connections <= ports * sources,
        "{connections} connections need more ports than the {ports} of an address: give \
         --source-addresses {}",
        connections.div_ceil(ports)
    );
    Ok(())
}

fn ports_per_address() -> u64 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map_while(|end| end.parse::<u64>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) + 1,
        _ => PORTS_USUAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_connections_say_what_is_short() {
        assert!(check_connections(900, 1000, Some(28_000), 1).is_ok());
        let error = check_connections(901, 1000, Some(28_000), 1).expect_err("no files left");
        assert!(error.to_string().contains("a limit of 1001 open files, and it is 1000"), "{error}");
        let error = check_connections(30_000, 99_999, Some(28_000), 1).expect_err("no ports left");
        assert!(error.to_string().ends_with("--source-addresses 2"), "{error}");
        assert!(check_connections(30_000, 99_999, Some(28_000), 2).is_ok());
        assert!(check_connections(30_000, 99_999, None, 1).is_ok(), "not on loopback: the server's matter");
    }

    #[test]
    fn the_file_limit_is_raised_to_the_hard_one_at_least() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(FILES_WANTED);
        raise_file_limit();
        assert!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) >= hard);
    }
}
