//! Who loses nothing, who does, and who cannot keep up.

use fanfare_loadgen_core::report::unit::Unit;
use fanfare_loadgen_core::report::{Deliveries, Report, Resume, Stuck};

use super::outcome::Comparison;

/// A server whose deliveries take longer than this has fallen behind: what has not come when the run ends, and
/// was not overtaken by anything newer, is late rather than lost.
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

    /// The verdict in one sentence.
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

/// What was still to be done at the end, where it fell behind.
fn behind(reports: &[&Report]) -> Option<String> {
    let deliveries = reports.iter().filter_map(|it| it.deliveries());
    let owing: Vec<&Deliveries> = deliveries.filter(|it| fell_behind(it)).collect();
    let sum = |of: fn(&Deliveries) -> u64| owing.iter().map(|it| of(it)).sum::<u64>();
    let (late, errors) = (sum(late), sum(|it| it.published.errors));
    let share = percent(late as f64 / (sum(|it| it.lost) + sum(|it| it.delivered)) as f64);
    let what = [
        (late, format!("{share} had not arrived at the end")),
        (errors, format!("{} publications not taken or not confirmed", Unit::Count.show(errors as f64))),
    ];
    let what: Vec<String> = what.into_iter().filter(|(count, _)| *count > 0).map(|it| it.1).collect();
    (!what.is_empty()).then(|| what.join(", "))
}

fn fell_behind(deliveries: &Deliveries) -> bool {
    deliveries.latency_seconds.as_ref().is_none_or(|latency| latency.p99 > BEHIND_SECONDS)
}

/// What may still be under way: where it fell behind, all that is missing but the holes. Reports that do not
/// know of holes have none.
fn late(deliveries: &Deliveries) -> u64 {
    if fell_behind(deliveries) { deliveries.lost.saturating_sub(deliveries.holes.unwrap_or(0)) } else { 0 }
}

fn faults(reports: &[&Report]) -> Vec<String> {
    [
        (delivered(reports, |it| it.lost - late(it)), "lost"),
        (delivered(reports, |it| it.duplicates), "doubled"),
        (delivered(reports, |it| it.out_of_order), "out of order"),
        (delivered(reports, |it| it.strays), "altered or meant for others"),
        (delivered(reports, |it| it.over_told), "announced as missed that were not"),
        (delivered(reports, |it| it.disconnected), "subscribers disconnected"),
        (
            delivered(reports, |it| if fell_behind(it) { 0 } else { it.published.errors }),
            "publications refused, not taken or not confirmed",
        ),
        (stuck(reports, |it| it.lost), "missing at stuck readers without a word"),
        (stuck(reports, |it| it.over_told), "announced to stuck readers as missed that were not"),
        (stuck(reports, |it| it.duplicates), "doubled at stuck readers"),
        (stuck(reports, |it| it.out_of_order), "out of order at stuck readers"),
        (reports.iter().filter_map(|it| it.connects()).map(|it| it.failed).sum(), "connects failed"),
        (reports.iter().filter_map(|it| it.ingest()).map(|it| it.refused).sum(), "refused"),
        (reports.iter().filter_map(|it| it.ingest()).map(|it| it.unacknowledged).sum(), "not acknowledged"),
        (reports.iter().filter_map(|it| it.resume()).map(|it| it.reloads).sum(), "told to reload"),
        (reports.iter().filter_map(|it| it.resume()).map(not_caught_up).sum(), "had not caught up"),
        (
            reports.iter().filter(|it| it.server_ended_seconds.is_some()).count() as u64,
            "times the server ended early",
        ),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", Unit::Count.show(count as f64)))
    .collect()
}

fn delivered(reports: &[&Report], of: fn(&Deliveries) -> u64) -> u64 {
    reports.iter().filter_map(|it| it.deliveries()).map(of).sum()
}

fn stuck(reports: &[&Report], of: fn(&Stuck) -> u64) -> u64 {
    reports.iter().filter_map(|it| it.stuck()).map(of).sum()
}

/// How many of those that were cut off did not come back or did not get all that was to be replayed.
fn not_caught_up(resume: &Resume) -> u64 {
    u64::from(resume.cut_off).saturating_sub(resume.caught_up)
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
    use crate::fixture::{deliveries, report};
    use fanfare_loadgen_core::report::Findings;

    fn with_p99(p99: f64) -> Report {
        let mut report = report();
        deliveries(&mut report).latency_seconds.as_mut().expect("it has one").p99 = p99;
        report
    }

    #[test]
    fn where_it_fell_behind_only_holes_are_lost() {
        let (prompt, slow) = (with_p99(0.01), with_p99(2.0));
        assert!(faults(&[&prompt]).contains(&"3 lost".to_owned()));
        assert_eq!(behind(&[&prompt]), None);
        assert!(faults(&[&slow]).contains(&"2 lost".to_owned()), "something newer came");
        assert!(faults(&[&slow]).contains(&"4 doubled".to_owned()), "that is never for want of time");
        let owing = "under 0.1% had not arrived at the end, 1 publications not taken or not confirmed";
        assert_eq!(behind(&[&slow]).as_deref(), Some(owing));
        let mut older = slow;
        deliveries(&mut older).holes = None;
        assert!(!faults(&[&older]).iter().any(|fault| fault.ends_with("lost")), "nobody knows");
    }

    #[test]
    fn everything_that_went_wrong_is_a_fault() {
        let expected = [
            "3 lost",
            "4 doubled",
            "5 out of order",
            "6 altered or meant for others",
            "1 announced as missed that were not",
            "7 subscribers disconnected",
            "1 publications refused, not taken or not confirmed",
            "1 times the server ended early",
        ];
        assert_eq!(faults(&[&with_p99(0.01)]), expected);
        let resume = Resume {
            cut_off: 9,
            caught_up: 7,
            recovered: 7,
            reloads: 0,
            replayed: 0,
            failed_attempts: 0,
            back_seconds: None,
            caught_up_seconds: None,
        };
        let mut returned = with_p99(0.01);
        returned.findings = Findings::Resume(deliveries(&mut returned).clone(), resume);
        assert!(faults(&[&returned]).contains(&"2 had not caught up".to_owned()));
    }
}
