//! What was used of the machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::process::Usage;

/// What the load generator itself used while it measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnUsage {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Processor time for each delivery, publishing included, if there were any.
    #[serde(default)]
    pub cpu_seconds_per_delivery: Option<f64>,
    /// Which share of the time its busiest thread was on a processor, 0 to 1.
    pub busiest_thread: f64,
}

/// What the broker's processes, and those that they have started, used while they were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerUsage {
    /// The processes that were named.
    pub pids: Vec<u32>,
    /// How many processes there were at the end, with those that these have started.
    pub processes: u32,
    /// Processor time in all.
    pub cpu_seconds: f64,
    /// How much of that in the broker's own code.
    pub user_seconds: f64,
    /// How much of it in the kernel.
    pub system_seconds: f64,
    /// Processor time for each delivery, if there were any.
    pub cpu_seconds_per_delivery: Option<f64>,
    /// How much of that in the broker's own code.
    pub user_seconds_per_delivery: Option<f64>,
    /// How much of it in the kernel.
    pub system_seconds_per_delivery: Option<f64>,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// Resident memory before.
    pub rss_before_bytes: u64,
    /// Resident memory at the end without files and shared memory: the broker's own.
    pub anonymous_bytes: u64,
    /// Memory before without files and shared memory.
    pub anonymous_before_bytes: u64,
}

impl OwnUsage {
    /// The usage of so much processor time for so many deliveries.
    pub(crate) fn of(cpu: Duration, busiest_thread: f64, delivered: u64) -> Self {
        let cpu_seconds = cpu.as_secs_f64();
        let each = (delivered > 0).then(|| cpu_seconds / delivered as f64);
        Self { cpu_seconds, cpu_seconds_per_delivery: each, busiest_thread }
    }
}

impl ServerUsage {
    /// Processor time for each of `count`, if there were any.
    pub(crate) fn cpu_each(&self, count: u64) -> Option<f64> {
        (count > 0).then(|| self.cpu_seconds / count as f64)
    }

    /// Processor time in the broker's own code for each of `count`, if there were any.
    pub(crate) fn user_each(&self, count: u64) -> Option<f64> {
        (count > 0).then(|| self.user_seconds / count as f64)
    }

    /// What was used between `before` and `after`, in which there were `delivered` deliveries.
    pub(crate) fn between(pids: &[u32], before: &Usage, after: &Usage, delivered: u64) -> Self {
        let user_seconds = after.user_seconds - before.user_seconds;
        let system_seconds = after.system_seconds - before.system_seconds;
        let each = |seconds: f64| (delivered > 0).then(|| seconds / delivered as f64);
        Self {
            pids: pids.to_vec(),
            processes: after.processes,
            cpu_seconds: user_seconds + system_seconds,
            user_seconds,
            system_seconds,
            cpu_seconds_per_delivery: each(user_seconds + system_seconds),
            user_seconds_per_delivery: each(user_seconds),
            system_seconds_per_delivery: each(system_seconds),
            rss_bytes: after.rss_bytes,
            rss_before_bytes: before.rss_bytes,
            anonymous_bytes: after.anonymous_bytes,
            anonymous_before_bytes: before.anonymous_bytes,
        }
    }
}
