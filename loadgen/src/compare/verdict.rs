//! Who loses nothing, who does, and who cannot keep up.

use super::outcome::Comparison;
use crate::report::Report;
use crate::unit::Unit;

/// A server whose deliveries take longer than this has fallen behind: what it still owes when the run ends
/// is late rather than lost.
const BEHIND_SECONDS: f64 = 0.5;

/// What is to be said about the deliveries of one contender, step by step; all empty if all went well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What it did wrong.
    pub(crate) faults: Vec<String>,
    /// Where there was more to do than it can.
    pub(crate) behind: Vec<String>,
}

impl Verdict {
    pub(crate) fn of(comparison: &Comparison, who: usize) -> Self {
        let mut verdict = Self::default();
        for task in &comparison.tasks {
            for step in &task.steps {
                let place = match step.label.as_str() {
                    "" => task.title.clone(),
                    label => format!("{}, {label}", task.scenario),
                };
                let reports: Vec<&Report> = step.reports_of(who).collect();
                verdict.behind.extend(behind(&reports).map(|what| format!("{place}: {what}")));
                let faults = faults(&reports);
                if !faults.is_empty() {
                    verdict.faults.push(format!("{place}: {}", faults.join(", ")));
                }
            }
        }
        verdict
    }

    /// In one sentence.
    pub(crate) fn sentence(&self) -> String {
        let faults = match self.faults.as_slice() {
            [] => "nothing lost, doubled or out of order".to_owned(),
            faults => faults.join("; "),
        };
        match self.behind.as_slice() {
            [] => faults,
            behind => format!("{faults}; fell behind at {}", behind.join("; ")),
        }
    }
}

/// Which share had not arrived, where it fell behind.
fn behind(reports: &[&Report]) -> Option<String> {
    let owing: Vec<&&Report> = reports.iter().filter(|it| it.lost > 0 && fell_behind(it)).collect();
    let lost: u64 = owing.iter().map(|it| it.lost).sum();
    let delivered: u64 = owing.iter().map(|it| it.delivered).sum();
    let share = || percent(lost as f64 / (lost + delivered) as f64);
    (lost > 0).then(|| format!("{} had not arrived at the end", share()))
}

fn fell_behind(report: &Report) -> bool {
    report.latency_seconds.as_ref().is_none_or(|latency| latency.p99 > BEHIND_SECONDS)
}

fn faults(reports: &[&Report]) -> Vec<String> {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
    [
        (sum(|it| if fell_behind(it) { 0 } else { it.lost }), "lost"),
        (sum(|it| it.duplicates), "doubled"),
        (sum(|it| it.out_of_order), "out of order"),
        (sum(|it| it.disconnected), "subscribers disconnected"),
        (
            sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.lost)),
            "missing at stuck readers without a word",
        ),
        (sum(|it| it.connects.as_ref().map_or(0, |connects| connects.failed)), "connects failed"),
        (sum(|it| it.ingest.as_ref().map_or(0, |ingest| ingest.unacknowledged)), "not acknowledged"),
        (sum(|it| it.resume.as_ref().map_or(0, |resume| resume.reloads)), "told to reload"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", Unit::Count.show(count as f64)))
    .collect()
}

/// A share, with the digits that matter.
fn percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent < 0.1 => "under 0.1%".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn with_p99(p99: f64) -> Report {
        let mut report = report();
        report.latency_seconds.as_mut().expect("it has one").p99 = p99;
        report
    }

    #[test]
    fn what_is_missing_is_lost_only_at_a_server_that_keeps_up() {
        let (prompt, slow) = (with_p99(0.01), with_p99(2.0));
        assert!(faults(&[&prompt]).contains(&"3 lost".to_owned()));
        assert_eq!(behind(&[&prompt]), None);
        assert!(!faults(&[&slow]).iter().any(|fault| fault.ends_with("lost")));
        assert_eq!(behind(&[&slow]).as_deref(), Some("under 0.1% had not arrived at the end"));
        assert!(faults(&[&slow]).contains(&"4 doubled".to_owned()), "that is never for want of time");
    }
}
