//! The load: who connects, what is published when, what each delivery is held against. It must know no scenario.
//!
//! Nor does it know the command line, or whose turn it is: a [`run`](crate::run) drives it.

pub(crate) mod aftermath;
pub(crate) mod connection;
pub(crate) mod ingest;
pub(crate) mod link;
mod order;
pub(crate) mod ping;
pub(crate) mod plan;
pub(crate) mod publisher;
pub(crate) mod schedule;
pub(crate) mod subscriber;
pub(crate) mod tally;
pub(crate) mod worker;

use std::time::Duration;

use crate::report::MemberOrder;
use crate::target::Target;

/// What is asked of a run: subscribers on topics, and publications by a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// What it is called in a report.
    pub(crate) scenario: &'static str,
    pub(crate) target: Target,
    /// The secret with which subscriptions are signed, where they are.
    pub(crate) secret: Option<String>,
    /// How many threads read; one per core where nothing is said.
    pub(crate) threads: Option<u32>,
    /// The count of loopback addresses from which to connect.
    pub(crate) source_addresses: u32,
    /// How many connections subscribe.
    pub(crate) subscribers: u32,
    pub(crate) topics: u32,
    /// How many of the topics each of them subscribes to.
    pub(crate) topics_each: u32,
    /// How many connections publish; publishers and topics take turns.
    pub(crate) publishers: u32,
    /// In which order the members of topics connect, where they do not take turns as they come.
    pub(crate) member_order: Option<MemberOrder>,
    /// How many of the subscribers read nothing until all is over.
    pub(crate) stuck: u32,
    /// When all subscribers are cut off: so long after the warm-up.
    pub(crate) cut_after: Option<Duration>,
    /// Whether the subscribers are clients of the client crate.
    pub(crate) by_client: bool,
    /// Publications a second in all; none where there is no schedule.
    pub(crate) rate: Option<f64>,
    /// The size of a payload, in bytes.
    pub(crate) size: usize,
    /// How long to measure.
    pub(crate) duration: Duration,
    /// How long to publish before that, not counted.
    pub(crate) warmup: Duration,
    /// How long the last deliveries may take after that.
    pub(crate) grace: Duration,
}
