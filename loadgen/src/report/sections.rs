//! What only some scenarios measure.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;

/// What connections cost that do nothing, in the server's own memory: without files and shared memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// How many connections there were, with those of the publishers.
    pub connections: u64,
    /// Memory before, when a few connections had come and gone.
    pub before_bytes: u64,
    /// Memory once all were subscribed and it had settled.
    pub connected_bytes: u64,
    /// Memory a while after publications had gone to all of them.
    pub after_burst_bytes: u64,
    /// What each connection added.
    pub bytes_per_connection: f64,
    /// What each had added after the burst.
    pub bytes_per_connection_after_burst: f64,
}

/// Connections that came, subscribed and left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connects {
    /// How many did all of that while it was measured.
    pub count: u64,
    /// How many a second.
    pub per_second: f64,
    /// How many did not.
    pub failed: u64,
    /// How many tried at the same time.
    pub concurrency: u32,
    /// The time from the start of a connection until its subscription stood.
    pub ready_seconds: Option<Quantiles>,
    /// The time from the start of a connection until the broker had closed it too.
    pub closed_seconds: Option<Quantiles>,
    /// The server's processor time for each, where its process is known.
    pub server_cpu_seconds_each: Option<f64>,
    /// How much of that in its own code.
    pub server_user_seconds_each: Option<f64>,
}

/// A quiet connection, and listeners, beside publishers without pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// How many of its questions were answered while it was measured; one without an answer counts once, too.
    pub answers: u64,
    /// The time from a question to its answer.
    pub answer_seconds: Option<Quantiles>,
    /// How many publications of each publisher were acknowledged meanwhile.
    pub shares: Vec<u64>,
    /// How many times as much as the least of them the most was.
    pub share_ratio: f64,
    /// How many connections listened to a quiet topic.
    pub listeners: u32,
    /// How many of them did not stay connected.
    pub listeners_closed: u64,
    /// How many of the slow subscribers did not.
    pub subscribers_closed: u64,
}

/// Pings of quiet connections, each due at a fixed time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pings {
    /// How many connections there were.
    pub connections: u32,
    /// The time from when one ping of a connection was due until the next one was.
    pub interval_seconds: f64,
    /// What a ping was: `protocol` or `frame`.
    pub via: String,
    /// How many were due while it was measured.
    pub count: u64,
    /// How many of these were answered within the grace.
    pub answered: u64,
    /// How many, of warm-up too, were not.
    pub unanswered: u64,
    /// From when a ping was due until its answer was read; one without an answer is there with the time for which it
    /// was waited, the grace at least.
    pub answer_seconds: Option<Quantiles>,
    /// From when a ping was due until it was sent: the load generator's share of that, and the broker's where it takes
    /// nothing.
    pub sent_late_seconds: Option<Quantiles>,
}

/// Deliveries beside an attack, held against those without one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// What it was, such as `subscriptions`.
    pub attack: String,
    /// How many attackers there were.
    pub attackers: u32,
    /// How many messages they sent while it was measured, or connections they opened where it is these that count.
    pub blows: u64,
    /// The latency of the same publications before, without it.
    pub alone_seconds: Option<Quantiles>,
    /// The most of the server's own memory meanwhile, where its process is known: without files and shared memory.
    pub memory_max_bytes: Option<u64>,
}

/// What connections did that may do nothing, one thing after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strangers {
    /// How many they were.
    pub strangers: u32,
    /// The server's resident memory before.
    pub before_bytes: u64,
    /// What they did, in the order in which they did it.
    pub attacks: Vec<Attack>,
}

/// One thing that they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// What, in words.
    pub name: String,
    /// How many publications were acknowledged meanwhile to one who may publish; one without counts once, too.
    pub acknowledged: u64,
    /// The time from sending to the acknowledgement.
    pub acknowledged_seconds: Option<Quantiles>,
    /// How much more resident memory the server had than before all of them.
    pub grown_bytes: u64,
}

impl Strangers {
    /// The most that the server's memory had grown.
    pub(crate) fn grown_bytes(&self) -> u64 {
        self.attacks.iter().map(|attack| attack.grown_bytes).max().unwrap_or(0)
    }

    /// The worst p99 of the acknowledgements, if there was any.
    pub(crate) fn acknowledged_p99(&self) -> Option<f64> {
        let of = |attack: &Attack| Some(attack.acknowledged_seconds.as_ref()?.p99);
        self.attacks.iter().map(of).try_fold(0.0_f64, |worst, p99| Some(worst.max(p99?)))
    }
}

/// Subscribers that read nothing until all was over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stuck {
    /// How many there were. The figures outside of this section are those of the others.
    pub subscribers: u32,
    /// How many publications they got in the end, those of warm-up included, as in all figures here.
    pub delivered: u64,
    /// How many they did not get.
    pub missed: u64,
    /// How many of these they were told of: by the broker, or by a close after which nothing came.
    pub told: u64,
    /// How many were missing without a word.
    pub lost: u64,
    /// How many more each of them was told of than it had missed. Not known of older reports.
    #[serde(default)]
    pub over_told: u64,
    /// How many came more than once.
    pub duplicates: u64,
    /// How many came after a newer one of the same publisher and topic.
    pub out_of_order: u64,
    /// How many of the subscribers the broker had disconnected.
    pub disconnected: u64,
    /// The server's memory while they read nothing, where its process is known.
    pub memory: Option<MemoryOverTime>,
}

/// The server's own memory over time: without files and shared memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryOverTime {
    /// Seconds since the first measured publication was due, and bytes.
    pub samples: Vec<(f64, u64)>,
    /// Mean of the first half of the time.
    pub first_half_bytes: f64,
    /// Mean of the second half.
    pub second_half_bytes: f64,
    /// How fast it grew in the second half, by the line that fits best.
    pub growth_bytes_per_second: f64,
    /// The most.
    pub max_bytes: u64,
}

impl MemoryOverTime {
    /// What samples say, unless there are too few.
    pub(crate) fn of(samples: Vec<(f64, u64)>) -> Option<Self> {
        let middle = (samples.first()?.0 + samples.last()?.0) / 2.0;
        let (first, second) = samples.split_at(samples.partition_point(|(seconds, _)| *seconds < middle));
        let mean = |half: &[(f64, u64)]| {
            half.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / half.len() as f64
        };
        (first.len() >= 2 && second.len() >= 2).then(|| Self {
            first_half_bytes: mean(first),
            second_half_bytes: mean(second),
            growth_bytes_per_second: slope(second),
            max_bytes: samples.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default(),
            samples: samples.clone(),
        })
    }
}

/// The slope of the line with the least squares.
fn slope(points: &[(f64, u64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| *y as f64).sum::<f64>() / count;
    let (mut over, mut under) = (0.0, 0.0);
    for (x, y) in points {
        over += (x - mean_x) * (*y as f64 - mean_y);
        under += (x - mean_x).powi(2);
    }
    if under > 0.0 { over / under } else { 0.0 }
}

/// Publications as fast as the broker acknowledges them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ingest {
    /// The way: `websocket`, `http` or `client`.
    pub via: String,
    /// How many each publisher had under way at most.
    pub window: u32,
    /// How many further connections were held open meanwhile, subscribed to what nobody published.
    #[serde(default)]
    pub bystanders: u32,
    /// How many were acknowledged while it was measured.
    pub acknowledged: u64,
    /// How many a second.
    pub acknowledged_per_second: f64,
    /// How many, of warm-up too, were refused.
    pub refused: u64,
    /// How many, of warm-up too, were neither acknowledged nor refused.
    pub unacknowledged: u64,
    /// From the moment a publication was sent until its acknowledgement was read. A publisher that has its
    /// window under way waits: this is no latency at a given rate.
    pub acknowledged_seconds: Option<Quantiles>,
    /// The server's processor time for each, where its process is known.
    pub server_cpu_seconds_each: Option<f64>,
    /// How much of that in its own code.
    pub server_user_seconds_each: Option<f64>,
}

/// What came of subscribers that were all cut off at once, while publishing went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// How many were cut off.
    pub cut_off: u32,
    /// How many were back in the end, with all that was to be replayed.
    pub caught_up: u64,
    /// How many subscriptions went on from where they had been.
    pub recovered: u64,
    /// How many were told that they had missed too much and must load their state anew.
    pub reloads: u64,
    /// How many publications were replayed.
    pub replayed: u64,
    /// How many attempts to come back failed and were repeated.
    pub failed_attempts: u64,
    /// The time from the cut until a subscriber's subscriptions stood again.
    pub back_seconds: Option<Quantiles>,
    /// The time from the cut until it had all that was to be replayed; its maximum is when all had.
    pub caught_up_seconds: Option<Quantiles>,
}

/// The search for the highest rate that a broker keeps up with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindMax {
    /// What p99 had to stay within.
    pub p99_limit_seconds: f64,
    /// The highest rate at which it did and nothing was lost, in publications a second. The figures outside
    /// of this section are those of that step; if there was none, those of the first step.
    pub rate: Option<f64>,
    /// All rates that were tried, in that order.
    pub steps: Vec<Step>,
}

/// One rate that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Publications a second.
    pub rate: f64,
    /// Deliveries a second that came of it.
    pub delivered_per_second: f64,
    /// 99% of the latencies were at most this, if there were any.
    pub p99_seconds: Option<f64>,
    /// How many deliveries were lost.
    pub lost: u64,
    /// Which share of the time the busiest thread of the load generator was on a processor, 0 to 1.
    pub busiest_thread: f64,
    /// Why the broker did not keep up, if it did not.
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_fills_up_first_does_not_count_as_growing() {
        let level = |seconds: i32| (f64::from(seconds), if seconds < 3 { 100 } else { 200 });
        let memory = MemoryOverTime::of((0..=10).map(level).collect()).expect("enough samples");
        assert_eq!(memory.growth_bytes_per_second, 0.0);
        assert_eq!((memory.first_half_bytes, memory.second_half_bytes), (140.0, 200.0));
        assert_eq!(memory.max_bytes, 200);
    }

    #[test]
    fn memory_that_grows_all_the_time_is_told_by_its_slope() {
        let memory = MemoryOverTime::of((0..=10).map(|s| (f64::from(s), 1000 + 50 * s as u64)).collect());
        let growth = memory.expect("enough samples").growth_bytes_per_second;
        assert!((growth - 50.0).abs() < 1e-9, "{growth}");
        assert_eq!(MemoryOverTime::of(vec![(0.0, 1), (1.0, 1), (2.0, 1)]), None, "too few");
    }
}
