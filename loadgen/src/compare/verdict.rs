//! Who loses nothing, and who does.

use super::outcome::{Comparison, StepOutcome};
use crate::report::Report;
use crate::unit::Unit;

/// What went wrong with the deliveries of one contender, step by step; nothing if all went well.
pub(crate) fn faults(comparison: &Comparison, who: usize) -> Vec<String> {
    let mut faults = Vec::new();
    for task in &comparison.tasks {
        for step in &task.steps {
            let found = faults_of_step(step, who);
            if !found.is_empty() {
                let place = match step.label.as_str() {
                    "" => task.scenario.clone(),
                    label => format!("{}, {label}", task.scenario),
                };
                faults.push(format!("{place}: {}", found.join(", ")));
            }
        }
    }
    faults
}

fn faults_of_step(step: &StepOutcome, who: usize) -> Vec<String> {
    let sum = |of: fn(&Report) -> u64| step.reports_of(who).map(of).sum::<u64>();
    let delivered = sum(|report| report.delivered);
    let lost = sum(|report| report.lost);
    let share = match lost {
        0 => String::new(),
        lost => format!(" ({})", percent(lost as f64 / (lost + delivered) as f64)),
    };
    [
        (lost, format!("lost{share}")),
        (sum(|report| report.duplicates), "doubled".to_owned()),
        (sum(|report| report.out_of_order), "out of order".to_owned()),
        (sum(|report| report.disconnected), "subscribers disconnected".to_owned()),
        (
            sum(|it| it.stuck.as_ref().map_or(0, |stuck| stuck.lost)),
            "missing at stuck readers without a word".to_owned(),
        ),
        (sum(|it| it.connects.as_ref().map_or(0, |connects| connects.failed)), "connects failed".to_owned()),
        (sum(|it| it.ingest.as_ref().map_or(0, |ingest| ingest.unacknowledged)), "not acknowledged".to_owned()),
        (sum(|it| it.resume.as_ref().map_or(0, |resume| resume.reloads)), "told to reload".to_owned()),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", Unit::Count.show(count as f64)))
    .collect()
}

/// A share, with the digits that matter.
pub(crate) fn percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent < 0.1 => "under 0.1%".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}
