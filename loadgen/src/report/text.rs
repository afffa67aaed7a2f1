//! A report as a table for people: the rows of the metrics, and what is no metric around them.

use std::fmt;

use super::metric::Part;
use super::metrics::METRICS;
use super::quantiles::Quantiles;
use super::row::{Row, bytes, count, rate, seconds};
use super::sections::{Attack, FindMax, Step};
use super::unit::Unit;
use super::{Config, Report, Trouble};

/// The parts of the table, each apart from the one before.
const PARTS: [Part; 4] = [Part::Deliveries, Part::Latency, Part::Scenario, Part::Usage];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head())?;
        let parts = PARTS.map(|part| self.rows(part));
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join("\n"))?;
        if let Some(find_max) = self.find_max() {
            write!(f, "\n{find_max}")?;
        }
        if let Some(ended) = self.server_ended() {
            writeln!(f, "{ended}")?;
        }
        for Trouble { what, count } in &self.troubles {
            writeln!(f, "trouble: {what} ({count} times)")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

impl Report {
    /// What was asked for.
    fn head(&self) -> String {
        let Config { target, url, server, subscribers, topics, topics_each, publishers, .. } = &self.config;
        let Config { by_client, size_bytes, duration_seconds, member_order, .. } = &self.config;
        let Config { threads, pinned, .. } = &self.config;
        let some = |number: u32, one: &str| {
            format!("{} {one}{}", count(number.into()), if number == 1 { "" } else { "s" })
        };
        let by = if *by_client { " by client" } else { "" };
        let mut head = match self.pings() {
            // They subscribe to nothing.
            Some(pings) => format!("{}: {}", self.scenario, some(pings.connections, "connection")),
            None => {
                let subscribers = some(*subscribers, "subscriber");
                format!("{}: {subscribers}{by}, {}", self.scenario, some(*topics, "topic"))
            }
        };
        if *topics_each > 1 {
            head += &format!(" ({topics_each} each)");
        }
        if *publishers > 0 {
            head += &format!(", {}", some(*publishers, "publisher"));
        }
        if let Some(order) = member_order {
            head += &format!("; {order}");
        }
        if let Some(deliveries) = self.deliveries() {
            head += &format!("; {} publications/s", Unit::Count.show(deliveries.rate));
        }
        if *publishers > 0 {
            head += &format!(" of {size_bytes} bytes");
        }
        // Whom a reader wakes up pays for that: figures compare with the same number of them alone.
        let threads = some(*threads, "reader thread");
        let pinned = pinned.as_ref().map_or_else(String::new, |pinned| format!("; {pinned}"));
        format!("{head} for {}; {threads}\n{target} at {url}: {server}{pinned}\n", seconds(*duration_seconds))
    }

    /// The lines of one part.
    fn rows(&self, part: Part) -> String {
        let metrics = METRICS.iter().filter(|metric| metric.part() == part);
        let rows = metrics.filter_map(|metric| metric.to_row(self)).chain(self.attacks(part));
        rows.map(|row| row.to_string()).collect()
    }

    /// What strangers did: a row for each thing.
    fn attacks(&self, part: Part) -> impl Iterator<Item = Row> {
        let strangers = self.strangers().filter(|_| part == Part::Scenario);
        strangers.into_iter().flat_map(|it| &it.attacks).map(Attack::row)
    }
}

impl Attack {
    fn row(&self) -> Row {
        let acks = match &self.acknowledged_seconds {
            None => format!("{}: nothing acknowledged", self.name),
            Some(Quantiles { p50, p99, max, .. }) => {
                let [p50, p99, max] = [p50, p99, max].map(|value| seconds(*value));
                format!("{}: ack p50 {p50}, p99 {p99}, max {max}", self.name)
            }
        };
        Row("more memory", bytes(self.grown_bytes as f64), acks)
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
