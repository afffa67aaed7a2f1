//! The comparison as text, for a terminal.

use std::fmt::Write as _;

use super::figure::Value;
use super::outcome::Comparison;
use super::sheet::Sheet;
use super::verdict::Verdict;
use crate::unit::Unit;

/// A table for each step, and who loses nothing.
pub(crate) fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    for task in &comparison.tasks {
        for step in &task.steps {
            let separator = if step.label.is_empty() { "" } else { ": " };
            line(&mut out, &format!("{}{separator}{}", task.title, step.label));
            table(&mut out, comparison, &Sheet::of(step));
            out.push('\n');
        }
    }
    for (who, contender) in comparison.contenders.iter().enumerate() {
        let verdict = match comparison.reports_of(who).next() {
            None => "nothing was measured".to_owned(),
            Some(_) => Verdict::of(comparison, who).sentence(),
        };
        line(&mut out, &format!("{}: {verdict}", contender.name));
    }
    out
}

fn table(out: &mut String, comparison: &Comparison, sheet: &Sheet<'_>) {
    let head = sheet.figures.iter().map(|figure| figure.name.to_owned());
    let mut lines = vec![[String::new()].into_iter().chain(head).collect::<Vec<_>>()];
    for (contender, row) in comparison.contenders.iter().zip(&sheet.rows).filter(|it| it.1.is_measured()) {
        let cells = row.values.iter().zip(&sheet.figures);
        let cells = cells.map(|(value, figure)| value.map_or_else(|| "-".into(), |it| cell(figure.unit, it)));
        lines.push([contender.name.clone()].into_iter().chain(cells).collect());
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
    for (contender, row) in comparison.contenders.iter().zip(&sheet.rows) {
        for why in &row.failures {
            line(out, &format!("{} failed: {why}", contender.name));
        }
    }
}

/// The median, and how far the rounds lie around it.
fn cell(unit: Unit, value: Value) -> String {
    let spread = (100.0 * value.spread()).round();
    if spread < 1.0 { unit.show(value.median) } else { format!("{} ±{spread}%", unit.show(value.median)) }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes everything");
}
