//! What the system must allow for a run: open files, and ports to connect from.

use std::net::IpAddr;

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files besides the connections: standard streams, pollers, timers, libraries.
const OTHER_FILES: u64 = 100;
/// What most systems allow, where this one does not say.
const PORTS_USUAL: u64 = 28_000;
/// More than anybody opens; beyond it the kernel may refuse.
const FILES_WANTED: u64 = 1_048_576;

/// Raises the limit of open files as far as it may be. Processes started later inherit it.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Whoever runs as root may raise the hard limit too.
    for maximum in [limit.maximum.map(|maximum| maximum.max(FILES_WANTED)), limit.maximum] {
        if setrlimit(Resource::Nofile, Rlimit { current: maximum.or(Some(FILES_WANTED)), maximum }).is_ok() {
            return;
        }
    }
}

/// Checks that the system allows so many connections to a server, from so many addresses of this machine. Returns
/// what may still be short, if anything.
///
/// # Errors
/// Says what is short for certain, and what to do about it.
pub(crate) fn check(
    connections: u64,
    server: IpAddr,
    source_addresses: u32,
) -> anyhow::Result<Option<String>> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let ports = server.is_loopback().then(ports_per_address);
    check_connections(connections, files, ports, u64::from(source_addresses), time_wait())
}

/// What to say where a connection gets no port.
pub(crate) fn no_port_left() -> String {
    match time_wait() {
        0 => "no port is left on this address: give more --source-addresses".to_owned(),
        waiting => format!(
            "no port is left on this address: {waiting} sockets are in TIME_WAIT, for a minute after their \
             connections; wait that long, or give more --source-addresses"
        ),
    }
}

/// `waiting` sockets hold ports of connections that have ended: those of all addresses, since nobody says whose. Many
/// systems give such ports away again after a second, so that this may be no more than a warning.
fn check_connections(
    connections: u64,
    files: u64,
    ports: Option<u64>,
    sources: u64,
    waiting: u64,
) -> anyhow::Result<Option<String>> {
    ensure!(
        connections + OTHER_FILES <= files,
        "{connections} connections need a limit of {} open files, and it is {files}: raise it with \
         `ulimit -n`, or in the limits of the system",
        connections + OTHER_FILES
    );
    let Some(ports) = ports else { return Ok(None) };
    ensure!(
        connections <= ports * sources,
        "{connections} connections need more ports than the {ports} of an address: give \
         --source-addresses {}",
        connections.div_ceil(ports)
    );
    Ok((connections + waiting > ports * sources).then(|| {
        format!(
            "ports may run short: of {} there are {waiting} in TIME_WAIT, for a minute after their connections, \
             and {connections} are needed; wait that long, or give --source-addresses {}",
            ports * sources,
            (connections + waiting).div_ceil(ports)
        )
    }))
}

/// How many sockets are in TIME_WAIT; 0 where nobody says.
fn time_wait() -> u64 {
    time_wait_of(&std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default()).unwrap_or_default()
}

fn time_wait_of(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "tw").skip(1);
    words.next()?.parse().ok()
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
        let check = |connections, files, ports, sources| {
            check_connections(connections, files, ports, sources, 0).map(|short| assert_eq!(short, None))
        };
        assert!(check(900, 1000, Some(28_000), 1).is_ok());
        let error = check(901, 1000, Some(28_000), 1).expect_err("no files left");
        assert!(error.to_string().contains("a limit of 1001 open files, and it is 1000"), "{error}");
        let error = check(30_000, 99_999, Some(28_000), 1).expect_err("no ports left");
        assert!(error.to_string().ends_with("--source-addresses 2"), "{error}");
        assert!(check(30_000, 99_999, Some(28_000), 2).is_ok());
        assert!(check(30_000, 99_999, None, 1).is_ok(), "not on loopback: the server's matter");
    }

    #[test]
    fn ports_of_connections_that_have_ended_are_counted() {
        let sockstat =
            "sockets: used 57\nTCP: inuse 28 orphan 0 tw 10400 alloc 28 mem 46\nUDP: inuse 0 mem 0\n";
        let waiting = time_wait_of(sockstat).expect("it says");
        assert_eq!(waiting, 10_400);
        let short = check_connections(19_800, 99_999, Some(28_000), 1, waiting).expect("they may do");
        let short = short.expect("they may not, too");
        assert!(short.contains("of 28000 there are 10400 in TIME_WAIT"), "{short}");
        assert!(short.ends_with("--source-addresses 2"), "{short}");
        let enough = check_connections(19_800, 99_999, Some(28_000), 2, waiting).expect("enough");
        assert_eq!(enough, None);
        assert_eq!(time_wait_of("UDP: inuse 0 tw 3\n"), None);
    }

    #[test]
    fn the_file_limit_is_raised_to_the_hard_one_at_least() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(FILES_WANTED);
        raise_file_limit();
        assert!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) >= hard);
    }
}
