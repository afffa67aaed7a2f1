//! A row of the table for people, and numbers as they stand in it.

use std::fmt;

use super::unit::Unit;

/// Columns of a table: a name, a number, what is to be said about it.
pub(super) struct Row(pub(super) &'static str, pub(super) String, pub(super) String);

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, number, remark) = self;
        let line = format!("{name:<16}{number:>14}  {remark}");
        writeln!(f, "{}", line.trim_end())
    }
}

pub(super) fn count(count: u64) -> String {
    Unit::Count.show(count as f64)
}

pub(super) fn seconds(seconds: f64) -> String {
    Unit::Seconds.show(seconds)
}

pub(super) fn bytes(bytes: f64) -> String {
    Unit::Bytes.show(bytes)
}

/// A rate: so many a second.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", Unit::Count.show(per_second))
}
