//! A report as a table for people.

use std::fmt;

use super::{Config, OwnUsage, Published, Quantiles, Report, Trouble};
use crate::unit::Unit;

/// Columns of a table: a name, a number, what is to be said about it.
struct Row<'a>(&'a str, String, String);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, number, remark) = self;
        let line = format!("{name:<16}{number:>14}  {remark}");
        writeln!(f, "{}", line.trim_end())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u64| Unit::Count.show(count as f64);
        write!(f, "{}: {}", self.scenario, self.config)?;
        let Published { count: sent, per_second, offered_per_second, errors } = &self.published;
        let rates =
            format!("{}/s of {}/s", Unit::Count.show(*per_second), Unit::Count.show(*offered_per_second));
        let delivered_rate = format!("{}/s", Unit::Count.show(self.delivered_per_second));
        let announced = match self.gaps {
            0 => String::new(),
            gaps => format!("the broker announced {} as missed", count(gaps)),
        };
        let none = String::new;
        for row in [
            Row("published", count(*sent), rates),
            Row("publish errors", count(*errors), none()),
            Row("delivered", count(self.delivered), delivered_rate),
            Row("lost", count(self.lost), announced),
            Row("duplicates", count(self.duplicates), none()),
            Row("out of order", count(self.out_of_order), none()),
            Row("strays", count(self.strays), none()),
            Row("disconnected", count(self.disconnected), none()),
        ] {
            write!(f, "{row}")?;
        }
        self.fmt_times(f)?;
        self.fmt_usage(f)?;
        for Trouble { what, count } in &self.troubles {
            writeln!(f, "trouble: {what} ({count} times)")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

impl Report {
    fn fmt_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(latency) = &self.latency_seconds else { return Ok(()) };
        let Quantiles { p50, p90, p99, p99_9, p99_99, max } = *latency;
        writeln!(f)?;
        for (name, seconds) in [
            ("latency p50", p50),
            ("latency p90", p90),
            ("latency p99", p99),
            ("latency p99.9", p99_9),
            ("latency p99.99", p99_99),
            ("latency max", max),
        ] {
            let of_this = match &self.sent_late_seconds {
                Some(late) if name == "latency p99" => {
                    format!("sent late p99 {}", Unit::Seconds.show(late.p99))
                }
                Some(late) if name == "latency max" => {
                    format!("sent late max {}", Unit::Seconds.show(late.max))
                }
                _ => String::new(),
            };
            write!(f, "{}", Row(name, Unit::Seconds.show(seconds), of_this))?;
        }
        Ok(())
    }

    fn fmt_usage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let OwnUsage { cpu_seconds, busiest_thread } = self.loadgen;
        let busiest = format!("busiest thread {:.0}%", 100.0 * busiest_thread);
        write!(f, "{}", Row("own CPU", Unit::Seconds.show(cpu_seconds), busiest))?;
        let Some(server) = &self.server else { return Ok(()) };
        let each = match (server.cpu_seconds_per_delivery, server.user_seconds_per_delivery) {
            (Some(all), Some(user)) => {
                let [all, user, system] = [all, user, all - user].map(|time| Unit::Seconds.show(time));
                format!("{all} a delivery: {user} user, {system} system")
            }
            _ => String::new(),
        };
        write!(f, "{}", Row("server CPU", Unit::Seconds.show(server.cpu_seconds), each))?;
        let [rss, rss_before, own, own_before] = [
            server.rss_bytes,
            server.rss_before_bytes,
            server.anonymous_bytes,
            server.anonymous_before_bytes,
        ]
        .map(|bytes| Unit::Bytes.show(bytes as f64));
        let of = match server.processes {
            0 | 1 => String::new(),
            processes => format!("; of {processes} processes"),
        };
        let remark = format!("{rss_before} before; its own {own}, {own_before} before{of}");
        write!(f, "{}", Row("server memory", rss, remark))
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: u32, one: &str| {
            format!("{} {one}{}", Unit::Count.show(count.into()), if count == 1 { "" } else { "s" })
        };
        let each =
            if self.topics_each == 1 { String::new() } else { format!(" ({} each)", self.topics_each) };
        writeln!(
            f,
            "{}, {}{each}, {}; {} publications/s of {} bytes for {}",
            some(self.subscribers, "subscriber"),
            some(self.topics, "topic"),
            some(self.publishers, "publisher"),
            Unit::Count.show(self.rate),
            self.size_bytes,
            Unit::Seconds.show(self.duration_seconds),
        )?;
        writeln!(f, "{} at {}: {}\n", self.target, self.url, self.server)
    }
}
