//! What is busiest: topics by what is published, delivered and sent, and the readers that are slowest.

use std::cmp::Reverse;
use std::time::Duration;

use fanfare_protocol::TopicName;
use futures_util::future::try_join_all;

use crate::answer::Refusal;
use crate::hub::Hub;
use crate::inbox::{Host, Summary, Visited};
use crate::sketch::{Counter, merge};
use crate::workers::heat::{self, Measure};

/// Entries where the request does not say how many.
const TOP_DEFAULT: usize = 10;
/// Entries whatever the request says.
const TOP_MAX: usize = 100;
/// Blocked connections of a worker among which the slowest are looked for; fewer where they take too long to look at.
const BLOCKED_LOOKED_AT_MAX: usize = 256;

/// A topic, and how much of it there is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BusyTopic {
    pub(crate) topic: TopicName,
    /// What happens in a second, at most.
    pub(crate) per_second: f64,
    /// And at least.
    pub(crate) at_least: f64,
}

/// A reader whose socket takes nothing.
#[derive(Debug, Clone)]
pub(crate) struct SlowReader {
    pub(crate) summary: Summary,
    /// The topic of which it has yet to get most, and how many publications.
    pub(crate) behind: Option<(TopicName, u64)>,
}

fn size(limit: Option<usize>) -> usize {
    limit.unwrap_or(TOP_DEFAULT).clamp(1, TOP_MAX)
}

/// The topics of which there is most by that measure, as the sketches of all workers have it: the first is the one with most.
pub(crate) fn busiest(hub: &Hub, measure: Measure, limit: Option<usize>) -> Vec<BusyTopic> {
    let sketches: Vec<_> = hub.workers.iter().map(|worker| worker.heat.read(measure)).collect();
    let rate = |Counter { key, count, error }: Counter<TopicName>| BusyTopic {
        topic: key,
        per_second: heat::per_second(count),
        at_least: heat::per_second(count - error),
    };
    merge(&sketches).into_iter().take(size(limit)).map(rate).collect()
}

/// The readers that are furthest behind, of those whose sockets have taken nothing for longest.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
///
/// # Cancel safety
/// Cancel safe: it changes nothing.
pub(crate) async fn slowest(hub: &Hub, limit: Option<usize>) -> Result<Vec<SlowReader>, Refusal> {
    let limit = size(limit);
    let asked = hub.workers.iter().map(|worker| worker.inbox.inquire(move |host| slowest_here(host, limit)));
    let mut all: Vec<_> = try_join_all(asked).await?.concat();
    order(&mut all, limit);
    Ok(all)
}

fn slowest_here(host: &dyn Host, limit: usize) -> Vec<SlowReader> {
    let mut readers = Vec::new();
    let look = &mut |connection: &dyn Visited| {
        let summary = connection.summary();
        if summary.blocked_for.is_some() {
            readers.push(SlowReader { summary, behind: connection.most_behind() });
        }
    };
    host.blocked(BLOCKED_LOOKED_AT_MAX, look);
    order(&mut readers, limit);
    readers
}

/// Those that are furthest behind first, and of two the one that has taken nothing for longer.
fn order(readers: &mut Vec<SlowReader>, limit: usize) {
    let lag = |reader: &SlowReader| reader.behind.as_ref().map_or(0, |(_, lag)| *lag);
    let blocked = |reader: &SlowReader| reader.summary.blocked_for.unwrap_or(Duration::ZERO);
    readers.sort_by_key(|reader| Reverse((lag(reader), blocked(reader))));
    readers.truncate(limit);
}
