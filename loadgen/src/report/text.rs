//! A report as a table for people.

use std::fmt;

use super::row::{Row, bytes, count, rate, seconds};
use super::sections_text::Section;
use super::unit::Unit;
use super::{Config, Published, Quantiles, Report, ServerUsage, Trouble};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.config)?;
        // The first section begins the table, the others stand apart.
        let mut apart = false;
        for rows in [
            self.deliveries(),
            self.latencies(),
            self.idle.as_ref().map_or_else(Vec::new, Section::rows),
            self.connects.as_ref().map_or_else(Vec::new, Section::rows),
            self.ingest.as_ref().map_or_else(Vec::new, Section::rows),
            self.stuck.as_ref().map_or_else(Vec::new, Section::rows),
            self.resume.as_ref().map_or_else(Vec::new, Section::rows),
            self.neighbour.as_ref().map_or_else(Vec::new, Section::rows),
            self.strangers.as_ref().map_or_else(Vec::new, Section::rows),
            self.usage(),
        ] {
            if apart && !rows.is_empty() {
                writeln!(f)?;
            }
            apart |= !rows.is_empty();
            rows.iter().try_for_each(|row| write!(f, "{row}"))?;
        }
        if let Some(find_max) = &self.find_max {
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
    /// Nothing where nothing was published by a schedule.
    fn deliveries(&self) -> Vec<Row> {
        if self.config.rate == 0.0 {
            return Vec::new();
        }
        let Published { count: sent, per_second, offered_per_second, errors } = self.published;
        let rates = format!("{} of {}", rate(per_second), rate(offered_per_second));
        let mut announced = match self.gaps {
            0 => String::new(),
            gaps => format!("the broker announced {} as missed", count(gaps)),
        };
        if self.over_told > 0 {
            announced += &format!(", {} more than were", count(self.over_told));
        }
        let none = String::new;
        vec![
            Row("published", count(sent), rates),
            Row("publish errors", count(errors), self.config.confirmed.clone()),
            Row("delivered", count(self.delivered), rate(self.delivered_per_second)),
            Row("lost", count(self.lost), announced),
            Row("duplicates", count(self.duplicates), none()),
            Row("out of order", count(self.out_of_order), none()),
            Row("strays", count(self.strays), none()),
            Row("disconnected", count(self.disconnected), none()),
        ]
    }

    fn latencies(&self) -> Vec<Row> {
        let Some(latency) = &self.latency_seconds else { return Vec::new() };
        let late = |what: &str, of: fn(&Quantiles) -> f64| match &self.sent_late_seconds {
            Some(late) => format!("sent late {what} {}", seconds(of(late))),
            None => String::new(),
        };
        vec![
            Row("latency p50", seconds(latency.p50), String::new()),
            Row("latency p90", seconds(latency.p90), String::new()),
            Row("latency p99", seconds(latency.p99), late("p99", |late| late.p99)),
            Row("latency p99.9", seconds(latency.p99_9), String::new()),
            Row("latency p99.99", seconds(latency.p99_99), String::new()),
            Row("latency max", seconds(latency.max), late("max", |late| late.max)),
        ]
    }

    fn usage(&self) -> Vec<Row> {
        let each = self.loadgen.cpu_seconds_per_delivery;
        let each = each.map_or_else(String::new, |each| format!("{} a delivery; ", seconds(each)));
        let busiest = format!("{each}busiest thread {:.0}%", 100.0 * self.loadgen.busiest_thread);
        let mut rows = vec![Row("own CPU", seconds(self.loadgen.cpu_seconds), busiest)];
        if let Some(server) = &self.server {
            rows.extend(server.rows());
        }
        rows
    }
}

impl ServerUsage {
    fn rows(&self) -> [Row; 2] {
        let each =
            [self.cpu_seconds_per_delivery, self.user_seconds_per_delivery, self.system_seconds_per_delivery];
        let cpu = match each {
            [Some(all), Some(user), Some(system)] => {
                format!("{} a delivery: {} user, {} system", seconds(all), seconds(user), seconds(system))
            }
            _ => format!("{} user, {} system", seconds(self.user_seconds), seconds(self.system_seconds)),
        };
        let of = match self.processes {
            0 | 1 => String::new(),
            processes => format!("; of {processes} processes"),
        };
        let memory = format!(
            "{} before; its own {}, {} before{of}",
            bytes(self.rss_before_bytes as f64),
            bytes(self.anonymous_bytes as f64),
            bytes(self.anonymous_before_bytes as f64),
        );
        [
            Row("server CPU", seconds(self.cpu_seconds), cpu),
            Row("server memory", bytes(self.rss_bytes as f64), memory),
        ]
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |number: u32, one: &str| {
            format!("{} {one}{}", count(number.into()), if number == 1 { "" } else { "s" })
        };
        let each = match self.topics_each {
            0 | 1 => String::new(),
            topics => format!(" ({topics} each)"),
        };
        let by = if self.by_client { " by client" } else { "" };
        write!(f, "{}{by}, {}{each}", some(self.subscribers, "subscriber"), some(self.topics, "topic"))?;
        if self.publishers > 0 {
            write!(f, ", {}", some(self.publishers, "publisher"))?;
        }
        if self.rate > 0.0 {
            write!(f, "; {} publications/s", Unit::Count.show(self.rate))?;
        }
        if self.publishers > 0 {
            write!(f, " of {} bytes", self.size_bytes)?;
        }
        // Whom a reader wakes up pays for that: figures compare with the same number of them alone.
        let threads = some(self.threads, "reader thread");
        writeln!(f, " for {}; {threads}", seconds(self.duration_seconds))?;
        let pinned = self.pinned.as_ref().map_or_else(String::new, |pinned| format!("; {pinned}"));
        writeln!(f, "{} at {}: {}{pinned}", self.target, self.url, self.server)
    }
}
