//! One step of a scenario as a table: who took part, and the figures of each.

use fanfare_loadgen_core::report::Report;
use fanfare_loadgen_core::report::metrics::P99;

use super::figure::{Figure, Ratio, Value, figures};
use super::outcome::{Outcome, StepOutcome};

/// A table of figures.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    pub(crate) figures: Vec<Figure>,
    /// The rows, one for each contender, in their order.
    pub(crate) rows: Vec<Row<'a>>,
}

/// The figures of one contender.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The value of each figure, if it was measured and says something: what deliveries cost who was behind
    /// does not.
    pub(crate) values: Vec<Option<Value>>,
    /// Why rounds have failed, each reason once.
    pub(crate) failures: Vec<&'a str>,
    /// Whether what deliveries cost it is left out, because its p99 is beyond the bound.
    pub(crate) is_behind: bool,
}

impl<'a> Sheet<'a> {
    /// The sheet of a step in which p99 must stay within a bound.
    pub(crate) fn of(step: &'a StepOutcome, p99_bound_seconds: f64) -> Self {
        let figures = step.reports().next().map_or_else(Vec::new, figures);
        let row = |(who, rounds): (usize, &'a Vec<Outcome>)| {
            let value = |figure: &Figure| step.value(who, figure, p99_bound_seconds);
            let mut failures: Vec<&str> = rounds.iter().filter_map(Outcome::failure).collect();
            failures.dedup();
            let has_costs = figures.iter().any(Figure::is_cost_of_deliveries);
            let is_behind = has_costs && step.is_behind(who, p99_bound_seconds);
            Row { values: figures.iter().map(value).collect(), failures, is_behind }
        };
        let rows = step.rounds.iter().enumerate().map(row).collect();
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
        (self.figures[column].is_relative() && who > 0).then(|| one.to(&first))
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

    /// A figure of one contender, if it was measured and says something: who is behind gathers more and pays less for
    /// each delivery.
    pub(crate) fn value(&self, who: usize, figure: &Figure, p99_bound_seconds: f64) -> Option<Value> {
        let is_flattered = figure.is_cost_of_deliveries() && self.is_behind(who, p99_bound_seconds);
        if is_flattered { None } else { figure.value(self.reports_of(who)) }
    }

    /// Whether the p99 of a contender is beyond the bound.
    fn is_behind(&self, who: usize, p99_bound_seconds: f64) -> bool {
        let p99 = Value::of(self.reports_of(who).filter_map(|report| P99.read(report)).collect());
        p99.is_some_and(|p99| p99.median > p99_bound_seconds)
    }

    /// The reports of one contender.
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
    use crate::fixture::{deliveries, report};
    use fanfare_loadgen_core::report::metrics::SERVER_CPU_PER_DELIVERY;

    /// A contender with rounds of these p99 and processor times.
    fn rounds(figures: [(f64, f64); 2]) -> Vec<Outcome> {
        let round = |(p99, cpu): (f64, f64)| {
            let mut report = report();
            deliveries(&mut report).latency_seconds.as_mut().expect("it has some").p99 = p99;
            report.server.as_mut().expect("it is known").cpu_seconds_per_delivery = Some(cpu);
            Outcome::Measured(Box::new(report))
        };
        figures.map(round).into()
    }

    #[test]
    fn processor_time_beside_a_p99_beyond_its_bound_is_neither_shown_nor_compared() {
        let first = rounds([(0.01, 2e-6), (0.02, 2e-6)]);
        let behind = rounds([(0.4, 1e-6), (0.3, 1e-6)]);
        let dearer = rounds([(0.01, 4e-6), (0.03, 4e-6)]);
        let step = StepOutcome { label: String::new(), rounds: vec![first, behind, dearer] };
        let sheet = Sheet::of(&step, 0.05);
        let cpu = sheet.figures.iter().position(|it| it.is(&SERVER_CPU_PER_DELIVERY));
        let column = cpu.expect("it is measured");
        assert_eq!((sheet.ratio(1, column), sheet.rows[1].values[column]), (None, None));
        assert!(sheet.rows[1].values[0].is_some() && sheet.rows[2].values[column].is_some());
        assert_eq!(sheet.ratio(2, column), Some(Ratio::Times(2.0)));
        assert_eq!(Sheet::of(&step, 1.0).ratio(1, column), Some(Ratio::Times(0.5)));
    }
}
