//! What only some scenarios measure, as rows of the table.

use std::fmt;

use super::quantiles::Quantiles;
use super::row::{Row, bytes, count, rate, seconds};
use super::sections::{
    Attack, Connects, FindMax, Idle, Ingest, MemoryOverTime, Neighbour, Resume, Step, Strangers, Stuck,
};
use super::unit::Unit;

/// A part of the table.
pub(super) trait Section {
    fn rows(&self) -> Vec<Row>;
}

impl Section for Idle {
    fn rows(&self) -> Vec<Row> {
        let of = |after: u64| {
            let [after, before] = [after, self.before_bytes].map(|size| bytes(size as f64));
            format!("{} connections took the server from {before} to {after}", count(self.connections))
        };
        vec![
            Row("a connection", bytes(self.bytes_per_connection), of(self.connected_bytes)),
            Row("after the burst", bytes(self.bytes_per_connection_after_burst), of(self.after_burst_bytes)),
        ]
    }
}

impl Section for Connects {
    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            Row(
                "connects",
                count(self.count),
                format!("{}, {} at a time", rate(self.per_second), self.concurrency),
            ),
            Row("failed", count(self.failed), String::new()),
        ];
        rows.extend(times(["ready p50", "ready p99", "ready max"], self.ready_seconds.as_ref()));
        rows.extend(times(["closed p50", "closed p99", "closed max"], self.closed_seconds.as_ref()));
        rows.extend(server_each(self.server_cpu_seconds_each, self.server_user_seconds_each));
        rows
    }
}

impl Section for Ingest {
    fn rows(&self) -> Vec<Row> {
        let window =
            format!("{} by {}, {} under way each", rate(self.acknowledged_per_second), self.via, self.window);
        let mut rows = vec![
            Row("acknowledged", count(self.acknowledged), window),
            Row("refused", count(self.refused), String::new()),
            Row("unacknowledged", count(self.unacknowledged), String::new()),
        ];
        if self.bystanders > 0 {
            rows.push(Row("bystanders", count(self.bystanders.into()), "held open meanwhile".into()));
        }
        rows.extend(times(["ack p50", "ack p99", "ack max"], self.acknowledged_seconds.as_ref()));
        rows.extend(server_each(self.server_cpu_seconds_each, self.server_user_seconds_each));
        rows
    }
}

impl Section for Neighbour {
    fn rows(&self) -> Vec<Row> {
        let shares: Vec<_> = self.shares.iter().map(|share| count(*share)).collect();
        let mut rows = vec![Row("answers", count(self.answers), String::new())];
        rows.extend(times(["answer p50", "answer p99", "answer max"], self.answer_seconds.as_ref()));
        rows.push(Row(
            "share ratio",
            format!("{:.2}", self.share_ratio),
            format!("of {}", shares.join(", ")),
        ));
        rows.push(Row(
            "listeners closed",
            count(self.listeners_closed),
            format!("of {}; {} slow subscribers", self.listeners, count(self.subscribers_closed)),
        ));
        rows
    }
}

impl Section for Strangers {
    fn rows(&self) -> Vec<Row> {
        let row = |attack: &Attack| {
            let acks = match &attack.acknowledged_seconds {
                None => format!("{}: nothing acknowledged", attack.name),
                Some(Quantiles { p50, p99, max, .. }) => {
                    let [p50, p99, max] = [p50, p99, max].map(|value| seconds(*value));
                    format!("{}: ack p50 {p50}, p99 {p99}, max {max}", attack.name)
                }
            };
            Row("more memory", bytes(attack.grown_bytes as f64), acks)
        };
        self.attacks.iter().map(row).collect()
    }
}

impl Section for Stuck {
    fn rows(&self) -> Vec<Row> {
        let mut told = format!("they missed {} and were told of {}", count(self.missed), count(self.told));
        if self.over_told > 0 {
            told += &format!(", {} more than each missed", count(self.over_told));
        }
        let mut rows = vec![
            Row(
                "stuck",
                count(self.subscribers.into()),
                format!("they got {} in the end", count(self.delivered)),
            ),
            Row("stuck: lost", count(self.lost), told),
            Row("stuck: doubled", count(self.duplicates), String::new()),
            Row("stuck: order", count(self.out_of_order), "out of order".into()),
            Row("stuck: closed", count(self.disconnected), String::new()),
        ];
        rows.extend(self.memory.as_ref().map(memory_row));
        rows
    }
}

fn memory_row(memory: &MemoryOverTime) -> Row {
    let [first, second] = [memory.first_half_bytes, memory.second_half_bytes].map(bytes);
    let growth = format!("{}/s", bytes(memory.growth_bytes_per_second));
    Row("memory growth", growth, format!("mean {first} in the first half, {second} in the second"))
}

impl Section for Resume {
    fn rows(&self) -> Vec<Row> {
        let back = format!(
            "of {} that were cut off; {} attempts failed",
            count(self.cut_off.into()),
            self.failed_attempts
        );
        let mut rows = vec![
            Row("caught up", count(self.caught_up), back),
            Row(
                "recovered",
                count(self.recovered),
                format!("{} publications were replayed", count(self.replayed)),
            ),
            Row("told to reload", count(self.reloads), String::new()),
        ];
        rows.extend(times(["back p50", "back p99", "back max"], self.back_seconds.as_ref()));
        let caught_up = self.caught_up_seconds.as_ref();
        rows.extend(times(["caught up p50", "caught up p99", "all caught up"], caught_up));
        rows
    }
}

impl fmt::Display for FindMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = seconds(self.p99_limit_seconds);
        let found = match self.rate {
            Some(rate) => format!("{} publications/s", Unit::Count.show(rate)),
            None => "none of the rates".to_owned(),
        };
        writeln!(f, "highest rate with p99 within {limit} and nothing lost: {found}")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>14}  {:>14} delivered  p99 {:>8}  {}",
            rate(self.rate),
            rate(self.delivered_per_second),
            self.p99_seconds.map_or_else(|| "-".to_owned(), seconds),
            self.failure.as_deref().unwrap_or("kept up"),
        )
    }
}

fn times(names: [&'static str; 3], quantiles: Option<&Quantiles>) -> Vec<Row> {
    let Some(Quantiles { p50, p99, max, .. }) = quantiles else { return Vec::new() };
    let rows = names.into_iter().zip([p50, p99, max]);
    rows.map(|(name, value)| Row(name, seconds(*value), String::new())).collect()
}

fn server_each(cpu: Option<f64>, user: Option<f64>) -> Option<Row> {
    let (cpu, user) = cpu.zip(user)?;
    let split = format!("{} user, {} system", seconds(user), seconds(cpu - user));
    Some(Row("server CPU each", seconds(cpu), split))
}
