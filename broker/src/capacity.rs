//! How many connections there may be, by the files that the process may have open.

use crate::config::Config;
use crate::setting::InvalidSetting;

/// File descriptors that are not for connections: listeners, logs, an operator's connections, and some to spare.
const FILES_RESERVED: u64 = 56;
/// File descriptors for the runtime of each worker.
const FILES_PER_WORKER: u64 = 4;
/// A broker that has room for fewer connections than this does not start, where nobody asked for so few.
const CONNECTIONS_MIN: u64 = 16;
/// Connections on a system that does not say how many files it allows.
const CONNECTIONS_DEFAULT: usize = 10_000;

/// Why there is no room for the connections that there are to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCapacity {
    /// Too few files may be open.
    #[error(
        "only {allowed} files may be open, and at least {needed} are needed, of which {reserved} are for the broker itself; raise the limit (ulimit -n, LimitNOFILE)"
    )]
    Files { allowed: u64, needed: u64, reserved: u64 },
    /// More are wanted than that.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
}

/// How many connections there may be, where so many files may be open.
///
/// # Errors
/// [`NoCapacity`]: they are too few, or fewer than the configuration wants.
pub(crate) fn connections_max(config: &Config, open_files_max: Option<u64>) -> Result<usize, NoCapacity> {
    let configured = config.limits.connections;
    let reserved = FILES_RESERVED + FILES_PER_WORKER * worker_count(config) as u64;
    let needed = reserved + CONNECTIONS_MIN;
    if let Some(allowed) = open_files_max.filter(|&files| configured == 0 && files < needed) {
        return Err(NoCapacity::Files { allowed, needed, reserved });
    }
    let allowed = open_files_max.map(|files| files.saturating_sub(reserved) as usize);
    match (configured, allowed) {
        (0, allowed) => Ok(allowed.unwrap_or(CONNECTIONS_DEFAULT)),
        (configured, Some(allowed)) if configured > allowed => Err(InvalidSetting::new(
            "limits.connections",
            format!(
                "{configured} connections do not fit the limit of open files, which allows {allowed}; raise it (ulimit -n, LimitNOFILE)"
            ),
        ).into()),
        (configured, _) => Ok(configured),
    }
}

/// How many workers there are to be.
pub(crate) fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_worker_opens_is_not_given_to_connections() {
        let mut config = Config::for_tests();
        let mut max = |workers| {
            config.server.workers = workers;
            connections_max(&config, Some(1000))
        };
        assert_eq!(max(1).expect("enough"), 940);
        assert_eq!(max(32).expect("enough"), 816);
        let few = max(240).expect_err("nothing is left").to_string();
        assert!(few.contains("at least 1032") && few.contains("1016 are for the broker"), "{few}");
    }
}
