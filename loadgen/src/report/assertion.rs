//! Conditions that a report must meet, such as `p99<50ms,lost=0`.

use std::str::FromStr;

use super::Report;
use super::metric::Metric;
use super::metrics::METRICS;

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
    /// The assertions that `report` does not meet, each with what was measured instead. What was not measured
    /// does not meet anything.
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
        let metric = METRICS.iter().find(|metric| metric.name() == name.trim()).ok_or_else(|| {
            let known: Vec<&str> = METRICS.iter().map(Metric::name).collect();
            format!("\"{}\" is not measured; what is: {}", name.trim(), known.join(", "))
        })?;
        let value = metric.unit().parse(value.trim()).map_err(|e| format!("{}: {e}", metric.name()))?;
        Ok(Self { text: text.to_owned(), metric, holds, value })
    }

    fn failure(&self, report: &Report) -> Option<String> {
        let name = self.metric.name();
        match self.metric.read(report) {
            Some(measured) if (self.holds)(&measured, &self.value) => None,
            Some(measured) => Some(format!("{}: {name} is {}", self.text, self.metric.unit().show(measured))),
            None => Some(format!("{}: {name} was not measured", self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{connects, deliveries, report};
    use crate::report::{Deliveries, Findings};

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
        report.findings = Findings::Steady(Deliveries { latency_seconds: None, ..deliveries() });
        report.server = None;
        let assertions: Assertions = "max<1s,server_rss>0B".parse().expect("valid");
        let expected = ["max<1s: max was not measured", "server_rss>0B: server_rss was not measured"];
        assert_eq!(assertions.failures(&report), expected);
    }

    #[test]
    fn without_a_schedule_no_deliveries_are_measured() {
        let mut report = report();
        report.findings = Findings::Connect(connects());
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
