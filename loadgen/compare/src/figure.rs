//! The figures that are compared, and how several rounds make one of them.

use fanfare_loadgen_core::report::unit::Unit;
use fanfare_loadgen_core::report::{Report, ServerUsage};

/// A figure of a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) of: fn(&Report) -> Option<f64>,
    /// Whether the report also says how many times as much it is as the first contender's.
    pub(crate) ratio: bool,
}

/// What several rounds say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// How many rounds have it.
    pub(crate) rounds: usize,
}

impl Figure {
    const fn new(name: &'static str, unit: Unit, of: fn(&Report) -> Option<f64>) -> Self {
        Self { name, unit, of, ratio: false }
    }

    const fn with_ratio(name: &'static str, unit: Unit, of: fn(&Report) -> Option<f64>) -> Self {
        Self { name, unit, of, ratio: true }
    }

    /// Whether it is what deliveries cost, which those pay less for who are behind.
    pub(crate) fn is_cost_of_deliveries(&self) -> bool {
        [CPU.name, USER.name, SYSTEM.name].contains(&self.name)
    }

    /// Of several rounds; none where none has it.
    pub(crate) fn value<'a>(&self, reports: impl Iterator<Item = &'a Report>) -> Option<Value> {
        Value::of(reports.filter_map(self.of).collect())
    }
}

impl Value {
    pub(crate) fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_by(f64::total_cmp);
        let (&min, &max) = (rounds.first()?, rounds.last()?);
        let (lower, upper) = (rounds[(rounds.len() - 1) / 2], rounds[rounds.len() / 2]);
        Some(Self { median: f64::midpoint(lower, upper), min, max, rounds: rounds.len() })
    }

    /// The median, and the least and the most where they differ.
    pub(crate) fn show(&self, unit: Unit) -> String {
        let spread = self.spread(unit).map_or_else(String::new, |spread| format!(" ({spread})"));
        unit.show(self.median) + &spread
    }

    /// The least and the most, where they differ.
    pub(crate) fn spread(&self, unit: Unit) -> Option<String> {
        let (min, max) = (unit.show(self.min), unit.show(self.max));
        (min != max).then(|| format!("{min} – {max}"))
    }

    /// How it stands to another one.
    pub(crate) fn to(&self, other: &Self) -> Ratio {
        let apart = self.max < other.min || other.max < self.min;
        match self.rounds.min(other.rounds) {
            // Nobody knows how far others would lie from it.
            0 | 1 => Ratio::Unknown,
            _ if apart && self.median > 0.0 && other.median > 0.0 => Ratio::Times(self.median / other.median),
            _ => Ratio::WithinSpread,
        }
    }
}

/// How one figure stands to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ratio {
    /// So many times as much: all rounds of one lie above all of the other.
    Times(f64),
    /// There is one round alone.
    Unknown,
    /// Some rounds of the one with less lie above some of the other.
    WithinSpread,
}

fn server(of: impl Fn(&ServerUsage) -> Option<f64>) -> impl Fn(&Report) -> Option<f64> {
    move |report| of(report.server.as_ref()?)
}

pub(crate) const DELIVERED: Figure =
    Figure::new("delivered/s", Unit::Count, |it| Some(it.delivered_per_second));
pub(crate) const P50: Figure = Figure::new("p50", Unit::Seconds, |it| Some(it.latency_seconds.as_ref()?.p50));
pub(crate) const P99: Figure = Figure::new("p99", Unit::Seconds, |it| Some(it.latency_seconds.as_ref()?.p99));
pub(crate) const CPU: Figure = Figure::with_ratio("CPU a delivery", Unit::Seconds, |it| {
    server(|usage| usage.cpu_seconds_per_delivery)(it)
});
pub(crate) const USER: Figure =
    Figure::new("of it user", Unit::Seconds, |it| server(|usage| usage.user_seconds_per_delivery)(it));
pub(crate) const SYSTEM: Figure =
    Figure::new("system", Unit::Seconds, |it| server(|usage| usage.system_seconds_per_delivery)(it));
pub(crate) const MEMORY: Figure =
    Figure::new("memory", Unit::Bytes, |it| server(|usage| Some(usage.rss_bytes as f64))(it));
/// Memory of the server's own once all are connected.
pub(crate) const IDLE_MEMORY: Figure =
    Figure::new("memory", Unit::Bytes, |it| Some(it.idle.as_ref()?.connected_bytes as f64));

const STEADY: &[Figure] = &[
    DELIVERED,
    P50,
    P99,
    CPU,
    USER,
    SYSTEM,
    MEMORY,
    Figure::new("client CPU", Unit::Seconds, |it| {
        it.config.by_client.then_some(it.loadgen.cpu_seconds_per_delivery).flatten()
    }),
    Figure::new("lost or late", Unit::Count, |it| Some(it.lost as f64)),
    Figure::new("duplicates", Unit::Count, |it| Some(it.duplicates as f64)),
    Figure::new("out of order", Unit::Count, |it| Some(it.out_of_order as f64)),
    Figure::new("disconnected", Unit::Count, |it| Some(it.disconnected as f64)),
];

const IDLE: &[Figure] = &[
    Figure::with_ratio("each connection", Unit::Bytes, |it| Some(it.idle.as_ref()?.bytes_per_connection)),
    Figure::with_ratio("after a burst", Unit::Bytes, |it| {
        Some(it.idle.as_ref()?.bytes_per_connection_after_burst)
    }),
    IDLE_MEMORY,
];

const CONNECT: &[Figure] = &[
    Figure::new("connects/s", Unit::Count, |it| Some(it.connects.as_ref()?.per_second)),
    Figure::with_ratio("CPU each", Unit::Seconds, |it| it.connects.as_ref()?.server_cpu_seconds_each),
    Figure::new("of it user", Unit::Seconds, |it| it.connects.as_ref()?.server_user_seconds_each),
    Figure::new("subscribed p50", Unit::Seconds, |it| {
        Some(it.connects.as_ref()?.ready_seconds.as_ref()?.p50)
    }),
    Figure::new("subscribed p99", Unit::Seconds, |it| {
        Some(it.connects.as_ref()?.ready_seconds.as_ref()?.p99)
    }),
    Figure::new("failed", Unit::Count, |it| Some(it.connects.as_ref()?.failed as f64)),
];

const STUCK: &[Figure] = &[
    Figure::new("memory growth/s", Unit::Bytes, |it| {
        Some(it.stuck.as_ref()?.memory.as_ref()?.growth_bytes_per_second)
    }),
    Figure::new("memory max", Unit::Bytes, |it| Some(it.stuck.as_ref()?.memory.as_ref()?.max_bytes as f64)),
    Figure::new("stuck: missed", Unit::Count, |it| Some(it.stuck.as_ref()?.missed as f64)),
    Figure::new("without a word", Unit::Count, |it| Some(it.stuck.as_ref()?.lost as f64)),
];

const INGEST: &[Figure] = &[
    Figure::new("acknowledged/s", Unit::Count, |it| Some(it.ingest.as_ref()?.acknowledged_per_second)),
    Figure::new("p50", Unit::Seconds, |it| Some(it.ingest.as_ref()?.acknowledged_seconds.as_ref()?.p50)),
    Figure::new("p99", Unit::Seconds, |it| Some(it.ingest.as_ref()?.acknowledged_seconds.as_ref()?.p99)),
    Figure::with_ratio("CPU each", Unit::Seconds, |it| it.ingest.as_ref()?.server_cpu_seconds_each),
    Figure::new("refused", Unit::Count, |it| Some(it.ingest.as_ref()?.refused as f64)),
    Figure::new("unacknowledged", Unit::Count, |it| Some(it.ingest.as_ref()?.unacknowledged as f64)),
];

const RESUME: &[Figure] = &[
    Figure::new("all back after", Unit::Seconds, |it| {
        Some(it.resume.as_ref()?.caught_up_seconds.as_ref()?.max)
    }),
    Figure::new("caught up p50", Unit::Seconds, |it| {
        Some(it.resume.as_ref()?.caught_up_seconds.as_ref()?.p50)
    }),
    Figure::new("recovered", Unit::Count, |it| Some(it.resume.as_ref()?.recovered as f64)),
    Figure::new("told to reload", Unit::Count, |it| Some(it.resume.as_ref()?.reloads as f64)),
    Figure::new("replayed", Unit::Count, |it| Some(it.resume.as_ref()?.replayed as f64)),
];

const FIND_MAX: &[Figure] = &[Figure::new("highest rate", Unit::Count, |it| it.find_max.as_ref()?.rate)];

/// The figures of a scenario, most important first: those of its own, and those of deliveries where there are any.
pub(crate) fn figures(report: &Report) -> Vec<Figure> {
    match report {
        Report { idle: Some(_), .. } => IDLE.to_vec(),
        Report { connects: Some(_), .. } => CONNECT.to_vec(),
        Report { ingest: Some(_), .. } => INGEST.to_vec(),
        Report { find_max: Some(_), .. } => [FIND_MAX, STEADY].concat(),
        Report { resume: Some(_), .. } => [RESUME, STEADY].concat(),
        Report { stuck: Some(_), .. } => [STEADY, STUCK].concat(),
        _ => STEADY.to_vec(),
    }
}

/// The figures that say most, for one line or one chart.
pub(crate) fn headlines(report: &Report) -> Vec<Figure> {
    let count = match report {
        Report { idle: Some(_), .. } => 2,
        Report { connects: Some(_), .. } | Report { ingest: Some(_), .. } => 2,
        Report { resume: Some(_), .. } => 1,
        Report { find_max: Some(_), .. } => return vec![FIND_MAX[0], DELIVERED, P99, CPU],
        _ => return vec![DELIVERED, P99, CPU],
    };
    figures(report).into_iter().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_middle_ones() {
        let value = Value::of(vec![4.0, 1.0, 2.0, 10.0]).expect("four rounds");
        assert_eq!(value, Value { median: 3.0, min: 1.0, max: 10.0, rounds: 4 });
        assert_eq!(value.show(Unit::Count), "3 (1 – 10)");
        assert_eq!(Value::of(vec![7.0]).expect("one").median, 7.0);
        assert_eq!(Value::of(Vec::new()), None);
    }

    #[test]
    fn what_lies_within_the_spread_is_not_ranked() {
        let value = |rounds: &[f64]| Value::of(rounds.to_vec()).expect("some");
        let (low, middle, high) = (value(&[1.0, 2.0]), value(&[1.9, 2.5]), value(&[3.0, 3.0]));
        assert_eq!(high.to(&low), Ratio::Times(2.0));
        assert_eq!((low.to(&middle), middle.to(&low)), (Ratio::WithinSpread, Ratio::WithinSpread));
        assert_eq!(value(&[9.0]).to(&low), Ratio::Unknown, "of one round alone no spread is known");
    }
}
