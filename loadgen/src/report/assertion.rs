//! Conditions that a report must meet, such as `p99<50ms,lost=0`.

use std::str::FromStr;

use super::Report;
use super::unit::Unit;

/// What can be asserted: its name, its unit, and where it stands in a report, if it does.
type Metric = (&'static str, Unit, fn(&Report) -> Option<f64>);

const METRICS: &[Metric] = &[
    ("p50", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.p50)),
    ("p90", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.p90)),
    ("p99", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.p99)),
    ("p99.9", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.p99_9)),
    ("p99.99", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.p99_99)),
    ("max", Unit::Seconds, |report| Some(report.latency_seconds.as_ref()?.max)),
    ("lost", Unit::Count, |report| Some(by_schedule(report)?.lost as f64)),
    ("duplicates", Unit::Count, |report| Some(by_schedule(report)?.duplicates as f64)),
    ("out_of_order", Unit::Count, |report| Some(by_schedule(report)?.out_of_order as f64)),
    ("gaps", Unit::Count, |report| Some(by_schedule(report)?.gaps as f64)),
    ("over_told", Unit::Count, |report| Some(by_schedule(report)?.over_told as f64)),
    ("strays", Unit::Count, |report| Some(by_schedule(report)?.strays as f64)),
    ("disconnected", Unit::Count, |report| Some(by_schedule(report)?.disconnected as f64)),
    ("publish_errors", Unit::Count, |report| Some(by_schedule(report)?.published.errors as f64)),
    ("published", Unit::Count, |report| Some(by_schedule(report)?.published.count as f64)),
    ("published_per_second", Unit::Count, |report| Some(by_schedule(report)?.published.per_second)),
    ("delivered", Unit::Count, |report| Some(by_schedule(report)?.delivered as f64)),
    ("delivered_per_second", Unit::Count, |report| Some(by_schedule(report)?.delivered_per_second)),
    ("server_cpu_per_delivery", Unit::Seconds, |report| report.server.as_ref()?.cpu_seconds_per_delivery),
    ("own_cpu_per_delivery", Unit::Seconds, |report| report.loadgen.cpu_seconds_per_delivery),
    ("server_rss", Unit::Bytes, |report| Some(report.server.as_ref()?.rss_bytes as f64)),
    ("server_memory", Unit::Bytes, |report| Some(report.server.as_ref()?.anonymous_bytes as f64)),
    ("busiest_thread", Unit::Count, |report| Some(report.loadgen.busiest_thread)),
    ("memory_per_connection", Unit::Bytes, |report| Some(report.idle.as_ref()?.bytes_per_connection)),
    ("memory_per_connection_after_burst", Unit::Bytes, |report| {
        Some(report.idle.as_ref()?.bytes_per_connection_after_burst)
    }),
    ("connects_per_second", Unit::Count, |report| Some(report.connects.as_ref()?.per_second)),
    ("connects_failed", Unit::Count, |report| Some(report.connects.as_ref()?.failed as f64)),
    ("connect_p99", Unit::Seconds, |report| Some(report.connects.as_ref()?.ready_seconds.as_ref()?.p99)),
    ("connect_max", Unit::Seconds, |report| Some(report.connects.as_ref()?.ready_seconds.as_ref()?.max)),
    ("server_cpu_per_connect", Unit::Seconds, |report| report.connects.as_ref()?.server_cpu_seconds_each),
    ("stuck_lost", Unit::Count, |report| Some(report.stuck.as_ref()?.lost as f64)),
    ("stuck_over_told", Unit::Count, |report| Some(report.stuck.as_ref()?.over_told as f64)),
    ("stuck_duplicates", Unit::Count, |report| Some(report.stuck.as_ref()?.duplicates as f64)),
    ("stuck_out_of_order", Unit::Count, |report| Some(report.stuck.as_ref()?.out_of_order as f64)),
    ("stuck_disconnected", Unit::Count, |report| Some(report.stuck.as_ref()?.disconnected as f64)),
    ("memory_growth_per_second", Unit::Bytes, |report| {
        Some(report.stuck.as_ref()?.memory.as_ref()?.growth_bytes_per_second)
    }),
    ("acknowledged_per_second", Unit::Count, |report| Some(report.ingest.as_ref()?.acknowledged_per_second)),
    ("acknowledged_p99", Unit::Seconds, |report| {
        Some(report.ingest.as_ref()?.acknowledged_seconds.as_ref()?.p99)
    }),
    ("acknowledged_max", Unit::Seconds, |report| {
        Some(report.ingest.as_ref()?.acknowledged_seconds.as_ref()?.max)
    }),
    ("refused", Unit::Count, |report| Some(report.ingest.as_ref()?.refused as f64)),
    ("unacknowledged", Unit::Count, |report| Some(report.ingest.as_ref()?.unacknowledged as f64)),
    ("server_cpu_per_publication", Unit::Seconds, |report| report.ingest.as_ref()?.server_cpu_seconds_each),
    ("caught_up", Unit::Count, |report| Some(report.resume.as_ref()?.caught_up as f64)),
    ("caught_up_max", Unit::Seconds, |report| Some(report.resume.as_ref()?.caught_up_seconds.as_ref()?.max)),
    ("recovered", Unit::Count, |report| Some(report.resume.as_ref()?.recovered as f64)),
    ("reloads", Unit::Count, |report| Some(report.resume.as_ref()?.reloads as f64)),
    ("answer_p99", Unit::Seconds, |report| Some(report.neighbour.as_ref()?.answer_seconds.as_ref()?.p99)),
    ("answer_max", Unit::Seconds, |report| Some(report.neighbour.as_ref()?.answer_seconds.as_ref()?.max)),
    ("share_ratio", Unit::Count, |report| Some(report.neighbour.as_ref()?.share_ratio)),
    ("listeners_closed", Unit::Count, |report| Some(report.neighbour.as_ref()?.listeners_closed as f64)),
    ("strangers_memory", Unit::Bytes, |report| Some(report.strangers.as_ref()?.grown_bytes() as f64)),
    ("strangers_ack_p99", Unit::Seconds, |report| report.strangers.as_ref()?.acknowledged_p99()),
    ("max_rate", Unit::Count, |report| report.find_max.as_ref()?.rate),
];

/// A report in which deliveries were measured: one of publications by a schedule.
fn by_schedule(report: &Report) -> Option<&Report> {
    (report.config.rate > 0.0).then_some(report)
}

type Comparison = (&'static str, fn(&f64, &f64) -> bool);

const COMPARISONS: &[Comparison] = &[
    ("<=", f64::le),
    (">=", f64::ge),
    ("!=", f64::ne),
    ("==", f64::eq),
    ("<", f64::lt),
    (">", f64::gt),
    ("=", f64::eq),
];

/// Conditions joined by commas, all of which must hold.
///
/// ```
/// use fanfare_loadgen_core::report::assertion::Assertions;
///
/// let assertions: Assertions = "p99<50ms, lost=0, delivered>=1M".parse()?;
/// let error = "p98<50ms".parse::<Assertions>().unwrap_err();
/// assert!(error.contains("p99"), "it names what can be asserted");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct Assertions(Vec<Assertion>);

#[derive(Debug, Clone)]
struct Assertion {
    text: String,
    metric: &'static Metric,
    holds: fn(&f64, &f64) -> bool,
    value: f64,
}

impl Assertions {
    /// Those that `report` does not meet, each with what was measured instead. What was not measured does
    /// not meet anything.
    pub fn failures(&self, report: &Report) -> Vec<String> {
        self.0.iter().filter_map(|assertion| assertion.failure(report)).collect()
    }
}

impl FromStr for Assertions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|condition| Assertion::parse(condition.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Assertion {
    fn parse(text: &str) -> Result<Self, String> {
        let at = text
            .find(['<', '>', '=', '!'])
            .ok_or_else(|| format!("\"{text}\" is no condition such as p99<50ms or lost=0"))?;
        let (name, rest) = text.split_at(at);
        let found = COMPARISONS.iter().find_map(|(sign, holds)| Some((*holds, rest.strip_prefix(sign)?)));
        let (holds, value) = found.ok_or_else(|| format!("\"{text}\" compares by none of < <= = != >= >"))?;
        let metric = METRICS.iter().find(|metric| metric.0 == name.trim()).ok_or_else(|| {
            let known: Vec<&str> = METRICS.iter().map(|metric| metric.0).collect();
            format!("\"{}\" is not measured; what is: {}", name.trim(), known.join(", "))
        })?;
        let value = metric.1.parse(value.trim()).map_err(|e| format!("{}: {e}", metric.0))?;
        Ok(Self { text: text.to_owned(), metric, holds, value })
    }

    fn failure(&self, report: &Report) -> Option<String> {
        let (name, unit, read) = self.metric;
        match read(report) {
            Some(measured) if (self.holds)(&measured, &self.value) => None,
            Some(measured) => Some(format!("{}: {name} is {}", self.text, unit.show(measured))),
            None => Some(format!("{}: {name} was not measured", self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn failures(conditions: &str) -> Vec<String> {
        conditions.parse::<Assertions>().expect(conditions).failures(&report())
    }

    #[test]
    fn conditions_that_hold_are_not_mentioned() {
        let all = "p50<=1ms, p99<20ms,p99.9 < 1s,max!=0s,lost=3,lost==3,gaps>=0,delivered>4k,server_rss<1GiB";
        assert_eq!(failures(all), [""; 0]);
    }

    #[test]
    fn conditions_that_do_not_hold_say_what_was_measured() {
        let expected = ["lost=0: lost is 3", "p99<1ms: p99 is 12.0 ms"];
        assert_eq!(failures("lost=0,p50<1s,p99<1ms"), expected);
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let mut report = report();
        report.latency_seconds = None;
        report.server = None;
        let assertions: Assertions = "max<1s,server_rss>0B".parse().expect("valid");
        let expected = ["max<1s: max was not measured", "server_rss>0B: server_rss was not measured"];
        assert_eq!(assertions.failures(&report), expected);
    }

    #[test]
    fn without_a_schedule_no_deliveries_are_measured() {
        let mut report = report();
        report.config.rate = 0.0;
        let assertions: Assertions = "lost>=0,delivered>=0,busiest_thread>0".parse().expect("valid");
        let expected = ["lost>=0: lost was not measured", "delivered>=0: delivered was not measured"];
        assert_eq!(assertions.failures(&report), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "no condition"),
            ("p99", "no condition"),
            ("p99<50ms,", "no condition"),
            ("p98<50ms", "what is: p50, p90, p99"),
            ("p99<50", "p99: \"50\" is no value such as 50ms"),
            ("lost!0", "compares by none"),
            ("lost=", "lost: \"\""),
        ] {
            let error = text.parse::<Assertions>().expect_err(text);
            assert!(error.contains(why), "{error} should say {why}");
        }
    }
}
