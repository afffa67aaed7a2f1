//! The figures that are compared, and how several rounds make one of them.

use fanfare_loadgen_core::report::metric::{Heading, Metric};
use fanfare_loadgen_core::report::metrics::{
    DELIVERED_PER_SECOND, MAX_RATE, METRICS, OWN_CPU_PER_DELIVERY, P99, SERVER_CPU_PER_DELIVERY,
};
use fanfare_loadgen_core::report::unit::Unit;
use fanfare_loadgen_core::report::{Findings, Report};

/// A metric that is compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    metric: Metric,
    heading: Heading,
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
    /// A metric, unless comparisons leave it out.
    pub(crate) fn of(metric: &Metric) -> Option<Self> {
        metric.compared().map(|heading| Self { metric: *metric, heading })
    }

    /// What stands above its column.
    pub(crate) fn heading(&self) -> &'static str {
        self.heading.text
    }

    pub(crate) fn unit(&self) -> Unit {
        self.metric.unit()
    }

    /// Whether it is this metric.
    pub(crate) fn is(&self, metric: &Metric) -> bool {
        self.metric.name() == metric.name()
    }

    /// Whether it is also said how many times as much it is as the first contender's.
    pub(crate) fn is_relative(&self) -> bool {
        self.heading.is_relative
    }

    /// Whether it is what deliveries cost, which those pay less for who are behind.
    pub(crate) fn is_cost_of_deliveries(&self) -> bool {
        self.metric.is_cost_of_deliveries()
    }

    /// The value in one run.
    pub(crate) fn read(&self, report: &Report) -> Option<f64> {
        self.metric.read(report)
    }

    /// The value over several rounds; none where none has it.
    pub(crate) fn value<'a>(&self, reports: impl Iterator<Item = &'a Report>) -> Option<Value> {
        Value::of(reports.filter_map(|report| self.read(report)).collect())
    }

    /// Whether it is worth a column. What idle connections get is a burst, whose figures are no rates; and where a
    /// WebSocket is read the load generator's own time is no client's.
    fn says_something_of(&self, report: &Report) -> bool {
        match &report.findings {
            _ if self.metric.is_of_scenario() => self.metric.is_of(report),
            Findings::Idle(..) => false,
            _ if self.is(&OWN_CPU_PER_DELIVERY) => report.config.by_client,
            _ => report.deliveries().is_some(),
        }
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
    /// How many times as much: all rounds of one lie above all of the other.
    Times(f64),
    /// Not known: there is one round alone.
    Unknown,
    /// Some rounds of the one with less lie above some of the other.
    WithinSpread,
}

/// The figures of a scenario, most important first: those of its own, and those of deliveries where there are any.
pub(crate) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures: Vec<Figure> =
        METRICS.iter().filter_map(Figure::of).filter(|it| it.says_something_of(report)).collect();
    figures.sort_by_key(|it| it.heading.place);
    figures
}

/// The figures that say most, for one line or one chart.
pub(crate) fn headlines(report: &Report) -> Vec<Figure> {
    let deliveries = [DELIVERED_PER_SECOND, P99, SERVER_CPU_PER_DELIVERY];
    match &report.findings {
        Findings::Idle(..) | Findings::Connect(_) | Findings::Ingest(_) | Findings::Ping(_) => {
            first_of(report, 2)
        }
        Findings::Resume(..) => first_of(report, 1),
        Findings::FindMax(..) => [&MAX_RATE].into_iter().chain(&deliveries).filter_map(Figure::of).collect(),
        Findings::Steady(_)
        | Findings::Stuck(..)
        | Findings::Beside(..)
        | Findings::Neighbour(_)
        | Findings::Strangers(_) => deliveries.iter().filter_map(Figure::of).collect(),
    }
}

fn first_of(report: &Report, count: usize) -> Vec<Figure> {
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
