//! What the machine itself charges for a delivery: the same small run of the floor before and after all others.
//!
//! Figures of two comparisons compare no better than their calibrations do, and those of one that took a while no
//! better than its two ends.

use serde::{Deserialize, Serialize};

use super::CompareArgs;
use super::contender::Contender;
use super::outcome::Outcome;
use super::runner;
use super::task::Task;
use crate::pin::Pinning;
use crate::unit::Unit;

/// What is run: few publications to many, so that nearly all of it is the kernel's work.
const SCENARIO: &str =
    "fanout --subscribers 1000 --rate 100 --threads 1 --size 128 --duration 2s --warmup 500ms";

/// Processor time of the floor for each delivery, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    pub(crate) before: f64,
    /// None as long as not all is measured.
    pub(crate) after: Option<f64>,
}

impl Calibration {
    pub(crate) fn sentence(&self) -> String {
        let [before, after] =
            [Some(self.before), self.after].map(|seconds| seconds.map(|it| Unit::Seconds.show(it)));
        let after = after.map_or_else(String::new, |after| format!(", {after} after"));
        format!(
            "the floor spent {} a delivery before{after} (100/s to 1,000 subscribers, 1 reader thread)",
            before.unwrap_or_default()
        )
    }
}

/// Runs the floor; says on standard error what came of it, or why nothing did.
pub(crate) async fn measure(args: &CompareArgs, pinning: Option<&Pinning>) -> Option<f64> {
    let tasks = Task::parse_all(&[SCENARIO.to_owned()], &[], 1).expect("a scenario");
    let task = tasks.first().expect("one scenario");
    let floor: Contender = "floor".parse().expect("a contender");
    let (_, outcome) = runner::run(&floor, task, task.steps().first()?, args, pinning).await;
    eprintln!("calibration: {outcome}");
    match outcome {
        Outcome::Measured(report) => report.server?.cpu_seconds_per_delivery,
        Outcome::Failed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_says_what_it_was_before_and_after() {
        let begun = Calibration { before: 2.9e-6, after: None };
        assert!(
            begun.sentence().starts_with("the floor spent 2.90 µs a delivery before (100/s"),
            "{begun:?}"
        );
        let ended = Calibration { after: Some(3.1e-6), ..begun };
        assert!(ended.sentence().contains("2.90 µs a delivery before, 3.10 µs after"), "{ended:?}");
    }
}
