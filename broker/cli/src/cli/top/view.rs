//! What is shown of what is busiest. Pure.

use serde_json::{Value, json};

use crate::cli::admin::{Table, bytes, cell, count, milliseconds};

/// What is asked for, in the order in which it is shown.
pub(super) const BY: [&str; 4] = ["publications", "deliveries", "bytes", "lag"];
/// Rows beside those of the four lists: a head each, blank lines, and the first one.
const OTHER_ROWS: usize = 8;

/// Rows of each list on a screen that high.
pub(super) fn rows_in(height: usize) -> usize {
    (height.saturating_sub(OTHER_ROWS) / BY.len()).clamp(1, 100)
}

/// The four lists, as they were at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    lists: Vec<Value>,
}

impl Snapshot {
    /// The answers to [`BY`], in that order.
    pub(super) fn new(lists: Vec<Value>) -> Self {
        Self { lists }
    }

    /// All of it as one object.
    pub(super) fn to_json(&self) -> Value {
        let mut all = json!({});
        for (by, list) in BY.into_iter().zip(&self.lists) {
            all[by] = if by == "lag" { list["readers"].clone() } else { list["topics"].clone() };
        }
        all
    }

    /// Lines for people, with so many rows of each list.
    pub(super) fn lines(&self, rows: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (by, list) in BY.into_iter().zip(&self.lists) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            let table = if by == "lag" { readers(list, rows) } else { topics(by, list, rows) };
            lines.extend(table.to_string().lines().map(str::to_owned));
        }
        lines
    }
}

fn topics(by: &str, list: &Value, rows: usize) -> Table {
    let head = match by {
        "publications" => "PUBLICATIONS/s",
        "deliveries" => "DELIVERIES/s",
        _ => "BYTES/s",
    };
    let mut table = Table::new(&[head, "AT LEAST", "TOPIC"]);
    for topic in list["topics"].as_array().into_iter().flatten().take(rows) {
        let rate = |value: &Value| {
            let rate = value.as_f64().unwrap_or(0.0);
            match by {
                "bytes" => bytes(value),
                _ if rate < 10.0 => format!("{rate:.1}"),
                _ => count(&json!(rate.round() as u64)),
            }
        };
        table.row([rate(&topic["per_second"]), rate(&topic["at_least"]), cell(&topic["topic"])]);
    }
    table
}

fn readers(list: &Value, rows: usize) -> Table {
    let mut table = Table::new(&["LAG", "BLOCKED", "QUEUED", "CONNECTION", "USER", "TOPIC"]);
    for reader in list["readers"].as_array().into_iter().flatten().take(rows) {
        table.row([
            count(&reader["lag"]),
            milliseconds(&reader["blocked_ms"]),
            bytes(&reader["queued_bytes"]),
            cell(&reader["id"]),
            cell(&reader["user"]),
            cell(&reader["topic"]),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let topic =
            |rate: f64| json!({"topics": [{"topic": "room:1", "per_second": rate, "at_least": rate / 2.0}]});
        let reader = json!({"id": "2f", "user": "alice", "topic": "room:1", "lag": 1234, "blocked_ms": 410, "queued_bytes": 65102});
        Snapshot::new(vec![topic(1234.5), topic(2.0), topic(2048.0), json!({"readers": [reader]})])
    }

    #[test]
    fn each_list_has_a_head_and_its_rows() {
        let lines = snapshot().lines(5);
        let expected = [
            "PUBLICATIONS/s  AT LEAST  TOPIC",
            "         1,235       617  room:1",
            "",
            "DELIVERIES/s  AT LEAST  TOPIC",
            "         2.0       1.0  room:1",
            "",
            "BYTES/s  AT LEAST  TOPIC",
            "2.0 KiB   1.0 KiB  room:1",
            "",
            "  LAG  BLOCKED    QUEUED  CONNECTION  USER   TOPIC",
            "1,234   410 ms  63.6 KiB          2f  alice  room:1",
        ];
        assert_eq!(lines, expected);
        assert_eq!(snapshot().to_json()["lag"][0]["id"], "2f");
    }

    #[test]
    fn the_lists_share_the_screen() {
        assert_eq!((rows_in(0), rows_in(24), rows_in(48), rows_in(10_000)), (1, 4, 10, 100));
    }
}
