//! One step of a scenario as a table: who took part, and the figures of each.

use fanfare_loadgen_core::report::Report;

use super::figure::{Figure, P99, Ratio, Value, figures};
use super::outcome::{Outcome, StepOutcome};

/// A table of figures.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    pub(crate) figures: Vec<Figure>,
    /// One for each contender, in their order.
    pub(crate) rows: Vec<Row<'a>>,
}

/// The figures of one contender.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// For each figure, if it was measured.
    pub(crate) values: Vec<Option<Value>>,
    /// Why rounds have failed, each reason once.
    pub(crate) failures: Vec<&'a str>,
    /// Whether its p99 is beyond the bound: it was behind.
    pub(crate) is_behind: bool,
}

impl<'a> Sheet<'a> {
    /// Of a step in which p99 must stay within a bound.
    pub(crate) fn of(step: &'a StepOutcome, p99_bound_seconds: f64) -> Self {
        let figures = step.reports().next().map_or_else(Vec::new, figures);
        let row = |rounds: &'a Vec<Outcome>| {
            let value = |figure: &Figure| figure.value(rounds.iter().filter_map(Outcome::report));
            let mut failures: Vec<&str> = rounds.iter().filter_map(Outcome::failure).collect();
            failures.dedup();
            let p99 = P99.value(rounds.iter().filter_map(Outcome::report));
            let is_behind = p99.is_some_and(|p99| p99.median > p99_bound_seconds);
            Row { values: figures.iter().map(value).collect(), failures, is_behind }
        };
        let rows = step.rounds.iter().map(row).collect();
        // What nobody has needs no column.
        let mut sheet = Self { figures, rows };
        let measured = |column: usize| sheet.rows.iter().any(|row| row.values[column].is_some());
        let kept: Vec<bool> = (0..sheet.figures.len()).map(measured).collect();
        retain(&mut sheet.figures, &kept);
        sheet.rows.iter_mut().for_each(|row| retain(&mut row.values, &kept));
        sheet
    }

    /// How a value stands to that of the first contender, where that says something.
    pub(crate) fn ratio(&self, who: usize, column: usize) -> Option<Ratio> {
        let (one, first) = (self.rows[who].values[column]?, self.rows[0].values[column]?);
        let flattered = self.is_flattered(who, column) || self.is_flattered(0, column);
        (self.figures[column].ratio && who > 0 && !flattered).then(|| one.to(&first))
    }

    /// Whether a value is low because its server was behind, or may be.
    pub(crate) fn is_flattered(&self, who: usize, column: usize) -> bool {
        self.rows[who].is_behind && self.figures[column].is_cost_of_deliveries()
    }
}

impl Row<'_> {
    pub(crate) fn is_measured(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }
}

impl StepOutcome {
    pub(crate) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.rounds.iter().flatten().filter_map(Outcome::report)
    }

    /// Those of one contender.
    pub(crate) fn reports_of(&self, who: usize) -> impl Iterator<Item = &Report> {
        self.rounds[who].iter().filter_map(Outcome::report)
    }
}

fn retain<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::CPU;
    use crate::fixture::report;

    /// A contender with rounds of these p99 and processor times.
    fn rounds(figures: [(f64, f64); 2]) -> Vec<Outcome> {
        let round = |(p99, cpu): (f64, f64)| {
            let mut report = report();
            report.latency_seconds.as_mut().expect("it has some").p99 = p99;
            report.server.as_mut().expect("it is known").cpu_seconds_per_delivery = Some(cpu);
            Outcome::Measured(Box::new(report))
        };
        figures.map(round).into()
    }

    #[test]
    fn processor_time_beside_a_p99_beyond_its_bound_is_not_compared() {
        let first = rounds([(0.01, 2e-6), (0.02, 2e-6)]);
        let behind = rounds([(0.4, 1e-6), (0.3, 1e-6)]);
        let dearer = rounds([(0.01, 4e-6), (0.03, 4e-6)]);
        let step = StepOutcome { label: String::new(), rounds: vec![first, behind, dearer] };
        let sheet = Sheet::of(&step, 0.05);
        let column = sheet.figures.iter().position(|it| it.name == CPU.name).expect("it is measured");
        assert_eq!(sheet.ratio(1, column), None);
        assert!(sheet.is_flattered(1, column) && !sheet.is_flattered(1, 0) && !sheet.is_flattered(2, column));
        assert_eq!(sheet.ratio(2, column), Some(Ratio::Times(2.0)));
        assert_eq!(Sheet::of(&step, 1.0).ratio(1, column), Some(Ratio::Times(0.5)));
    }
}
