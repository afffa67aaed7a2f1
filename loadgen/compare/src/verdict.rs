//! Who loses nothing, who does, and who cannot keep up.

use fanfare_loadgen_core::report::Report;
use fanfare_loadgen_core::report::unit::Unit;

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

/// What was still to be done at the end, where it fell behind.
fn behind(reports: &[&Report]) -> Option<String> {
    let owing: Vec<&&Report> = reports.iter().filter(|it| fell_behind(it)).collect();
    let sum = |of: fn(&Report) -> u64| owing.iter().map(|report| of(report)).sum::<u64>();
    let (late, errors) = (sum(late), sum(|it| it.published.errors));
    let share = percent(late as f64 / (sum(|it| it.lost) + sum(|it| it.delivered)) as f64);
    let what = [
        (late, format!("{share} had not arrived at the end")),
        (errors, format!("{} publications not taken or not confirmed", Unit::Count.show(errors as f64))),
    ];
    let what: Vec<String> = what.into_iter().filter(|(count, _)| *count > 0).map(|it| it.1).collect();
    (!what.is_empty()).then(|| what.join(", "))
}

fn fell_behind(report: &Report) -> bool {
    report.latency_seconds.as_ref().is_none_or(|latency| latency.p99 > BEHIND_SECONDS)
}

/// What may still be under way: where it fell behind, all that is missing but the holes. Reports that do not
/// know of holes have none.
fn late(report: &Report) -> u64 {
    if fell_behind(report) { report.lost.saturating_sub(report.holes.unwrap_or(0)) } else { 0 }
}

fn faults(reports: &[&Report]) -> Vec<String> {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
    [
        (sum(|it| it.lost - late(it)), "lost"),
        (sum(|it| it.duplicates), "doubled"),
        (sum(|it| it.out_of_order), "out of order"),
        (sum(|it| it.strays), "altered or meant for others"),
        (sum(|it| it.over_told), "announced as missed that were not"),
        (sum(|it| it.disconnected), "subscribers disconnected"),
        (
            sum(|it| if fell_behind(it) { 0 } else { it.published.errors }),
            "publications refused, not taken or not confirmed",
        ),
        (
            sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.lost)),
            "missing at stuck readers without a word",
        ),
        (
            sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.over_told)),
            "announced to stuck readers as missed that were not",
        ),
        (sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.duplicates)), "doubled at stuck readers"),
        (sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.out_of_order)), "out of order at stuck readers"),
        (sum(|it| it.connects.as_ref().map_or(0, |connects| connects.failed)), "connects failed"),
        (sum(|it| it.ingest.as_ref().map_or(0, |ingest| ingest.refused)), "refused"),
        (sum(|it| it.ingest.as_ref().map_or(0, |ingest| ingest.unacknowledged)), "not acknowledged"),
        (sum(|it| it.resume.as_ref().map_or(0, |resume| resume.reloads)), "told to reload"),
        (sum(not_caught_up), "had not caught up"),
        (sum(|it| it.server_ended_seconds.is_some().into()), "times the server ended early"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", Unit::Count.show(count as f64)))
    .collect()
}

/// How many of those that were cut off did not come back or did not get all that was to be replayed.
fn not_caught_up(report: &Report) -> u64 {
    report.resume.as_ref().map_or(0, |resume| u64::from(resume.cut_off).saturating_sub(resume.caught_up))
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
    use crate::fixture::report;
    use fanfare_loadgen_core::report::Resume;

    fn with_p99(p99: f64) -> Report {
        let mut report = report();
        report.latency_seconds.as_mut().expect("it has one").p99 = p99;
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
        let older = Report { holes: None, ..slow };
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
        let returned = Report { resume: Some(resume), ..with_p99(0.01) };
        assert!(faults(&[&returned]).contains(&"2 had not caught up".to_owned()));
    }
}
