//! The comparison as text, for a terminal.

use std::fmt::Write as _;

use fanfare_loadgen_core::report::unit::Unit;

use super::outcome::{Comparison, Participant};
use super::sheet::Sheet;
use super::verdict::Verdict;

/// A table for each step, and who loses nothing.
pub(crate) fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    for task in &comparison.tasks {
        for step in &task.steps {
            let separator = if step.label.is_empty() { "" } else { ": " };
            line(&mut out, &format!("{}{separator}{}", task.title, step.label));
            table(&mut out, comparison, &Sheet::of(step, comparison.p99_bound_seconds));
            out.push('\n');
        }
        if !task.left_out.is_empty() {
            line(&mut out, &format!("{}: {}\n", task.scenario, task.left_out));
        }
    }
    for (who, contender) in comparison.contenders.iter().enumerate() {
        let verdict = match comparison.reports_of(who).next() {
            None => "nothing was measured".to_owned(),
            Some(_) => Verdict::of(comparison, who).sentence(),
        };
        line(&mut out, &format!("{}: {verdict}", contender.name));
    }
    let threads = |it: &Participant| Some(it.threads()).filter(|text| !text.is_empty());
    let threads = comparison.contenders.iter().filter_map(|it| Some(format!("{} {}", it.name, threads(it)?)));
    let threads = threads.collect::<Vec<_>>().join("; ");
    for (what, text) in [("threads", &threads), ("processors", &comparison.placement)] {
        if !text.is_empty() {
            line(&mut out, &format!("{what}: {text}"));
        }
    }
    if let Some(calibration) = &comparison.calibration {
        line(&mut out, &format!("calibration: {}", calibration.sentence(comparison.p99_bound_seconds)));
    }
    out
}

fn table(out: &mut String, comparison: &Comparison, sheet: &Sheet<'_>) {
    let head = sheet.figures.iter().map(|figure| figure.heading().to_owned());
    let mut lines = vec![[String::new()].into_iter().chain(head).collect::<Vec<_>>()];
    for (who, row) in sheet.rows.iter().enumerate().filter(|it| it.1.is_measured()) {
        let cell = |column: usize| {
            row.values[column]
                .map_or_else(|| "-".to_owned(), |value| value.show(sheet.figures[column].unit()))
        };
        let cells = (0..sheet.figures.len()).map(cell);
        lines.push([comparison.contenders[who].name.clone()].into_iter().chain(cells).collect());
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for cells in &lines {
        let mut text = format!("{:<1$}", cells[0], widths[0]);
        for (cell, width) in cells.iter().zip(&widths).skip(1) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        line(out, text.trim_end());
    }
    if sheet.rows.iter().any(|row| row.is_behind) {
        let bound = Unit::Seconds.show(comparison.p99_bound_seconds);
        line(
            out,
            &format!(
                "no CPU a delivery beside a p99 beyond {bound}: who is behind gathers more and pays less for each"
            ),
        );
    }
    for (contender, row) in comparison.contenders.iter().zip(&sheet.rows) {
        for why in &row.failures {
            line(out, &format!("{} failed: {why}", contender.name));
        }
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes everything");
}
