//! Tables for people. Pure.

use std::fmt;

use serde_json::Value;

use crate::cli::output::printable;

/// Rows of cells under a head.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with that head; where all of it is empty it is not written.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// Numbers stand to the right of their columns.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_head = self.head.iter().any(|name| !name.is_empty());
        let head = has_head.then_some(&self.head);
        let width = |column: usize| {
            let cells = self.rows.iter().chain(head).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.head.len()).map(width).collect();
        let is_right = |column: usize| {
            has_head
                && !self.rows.is_empty()
                && self.rows.iter().all(|row| row[column] == "-" || is_number(&row[column]))
        };
        let rights: Vec<_> = (0..self.head.len()).map(is_right).collect();
        for row in head.into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&rights) {
                let pad = " ".repeat(width - cell.chars().count());
                line += &if right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A value as a cell has it: a dash where there is none.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// A number with its thousands apart.
pub(crate) fn count(value: &Value) -> String {
    let Some(number) = value.as_u64() else { return cell(value) };
    let digits = number.to_string();
    let mut out = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes, rounded for people.
pub(crate) fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_f64() else { return cell(value) };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scaled, mut unit) = (bytes, 0);
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{scaled:.0} B") } else { format!("{scaled:.1} {}", units[unit]) }
}

/// Seconds as an age.
pub(crate) fn age(value: &Value) -> String {
    match value.as_u64() {
        Some(seconds) if seconds < 60 => format!("{seconds}s"),
        Some(seconds) if seconds < 3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        Some(seconds) if seconds < 86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        Some(seconds) => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
        None => cell(value),
    }
}

/// A length in milliseconds.
pub(crate) fn milliseconds(value: &Value) -> String {
    match value.as_u64() {
        Some(ms) if ms < 10_000 => format!("{ms} ms"),
        Some(ms) => age(&Value::from(ms / 1000)),
        None => cell(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["USER", "CONNECTIONS"]);
        table.row(["alice".to_owned(), "1".to_owned()]);
        table.row(["b\u{f6}b".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.to_string(), "USER   CONNECTIONS\nalice            1\nb\u{f6}b          1,000\n");
        assert_eq!(Table::new(&["USER"]).to_string(), "USER\n");
    }

    #[test]
    fn what_comes_from_strangers_does_not_steer_a_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\n")), "a\\u{1b}[2Jb\\n");
        assert_eq!((cell(&json!(null)), cell(&json!(true))), ("-".to_owned(), "yes".to_owned()));
    }

    #[test]
    fn figures_are_written_for_people() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(&json!(number)), expected);
        }
        for (number, expected) in
            [(0, "0 B"), (1023, "1023 B"), (65_102, "63.6 KiB"), (5_368_709_120_u64, "5.0 GiB")]
        {
            assert_eq!(bytes(&json!(number)), expected);
        }
        for (number, expected) in [(59, "59s"), (72, "1m12s"), (3700, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(age(&json!(number)), expected);
        }
        assert_eq!(
            (milliseconds(&json!(410)), milliseconds(&json!(72_000))),
            ("410 ms".into(), "1m12s".into())
        );
    }
}
