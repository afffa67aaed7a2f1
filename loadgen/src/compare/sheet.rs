//! One step of a scenario as a table: who took part, and the figures of each.

use super::figure::{Figure, Value, figures};
use super::outcome::{Outcome, StepOutcome};
use crate::report::Report;

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
}

impl<'a> Sheet<'a> {
    pub(crate) fn of(step: &'a StepOutcome) -> Self {
        let figures = step.reports().next().map_or_else(Vec::new, figures);
        let row = |rounds: &'a Vec<Outcome>| {
            let value = |figure: &Figure| figure.value(rounds.iter().filter_map(Outcome::report));
            let mut failures: Vec<&str> = rounds.iter().filter_map(Outcome::failure).collect();
            failures.dedup();
            Row { values: figures.iter().map(value).collect(), failures }
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

    /// How many times as much as that of the first contender a value is, where that says something.
    pub(crate) fn ratio(&self, who: usize, column: usize) -> Option<f64> {
        let median = |who: usize| self.rows[who].values[column].map(|value| value.median);
        let (one, first) = (median(who)?, median(0)?);
        (self.figures[column].ratio && who > 0 && first > 0.0 && one > 0.0).then(|| one / first)
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
