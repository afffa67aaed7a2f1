//! What the machine itself charges for a delivery: the same small run of the floor before and after all others.
//!
//! Figures of two comparisons compare no better than their calibrations do, and those of one that took a while no
//! better than its two ends.

use fanfare_loadgen_core::report::Report;
use fanfare_loadgen_core::report::unit::Unit;
use serde::{Deserialize, Serialize};

/// Processor time of the floor for each delivery, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    before: f64,
    /// What it was after all rounds, in seconds; none as long as not all is measured.
    after: Option<f64>,
    /// How the runs went that these are of. Not known of older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before_run: Option<Conduct>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_run: Option<Conduct>,
}

/// How a run went: who loses or is behind has less to do for each delivery, and its processor time says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conduct {
    lost: u64,
    p99_seconds: f64,
}

impl Conduct {
    /// What is to be said beside the figure, if anything.
    fn doubt(&self, p99_bound_seconds: f64) -> String {
        if self.lost == 0 && self.p99_seconds <= p99_bound_seconds {
            return String::new();
        }
        let lost = Unit::Count.show(self.lost as f64);
        format!(" (not to be trusted: lost {lost}, p99 {})", Unit::Seconds.show(self.p99_seconds))
    }
}

impl Calibration {
    /// A calibration by the run before all others.
    pub(crate) fn begin((before, run): (f64, Conduct)) -> Self {
        Self { before, after: None, before_run: Some(run), after_run: None }
    }

    /// Adds what the run after all others has.
    pub(crate) fn end(&mut self, after: Option<(f64, Conduct)>) {
        (self.after, self.after_run) = after.unzip();
    }

    /// Both figures, each with what is to be said against it.
    pub(crate) fn sentence(&self, p99_bound_seconds: f64) -> String {
        let doubt = |run: Option<Conduct>| run.map_or_else(String::new, |it| it.doubt(p99_bound_seconds));
        let (before, doubt_before) = (Unit::Seconds.show(self.before), doubt(self.before_run));
        let after = self.after.map_or_else(String::new, |after| {
            format!(", {} after{}", Unit::Seconds.show(after), doubt(self.after_run))
        });
        format!(
            "the floor spent {before} a delivery before{doubt_before}{after} (100/s to 1,000 subscribers, \
             1 reader thread)"
        )
    }
}

/// What a run says; nothing where nothing was delivered.
pub(super) fn figure(report: &Report) -> Option<(f64, Conduct)> {
    let deliveries = report.deliveries()?;
    let conduct = Conduct { lost: deliveries.lost, p99_seconds: deliveries.latency_seconds.as_ref()?.p99 };
    Some((report.server.as_ref()?.cpu_seconds_per_delivery?, conduct))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{deliveries, report};

    /// What a run says that lost so many, with this p99, at so much processor time.
    fn ran(lost: u64, p99: f64, cpu: f64) -> Option<(f64, Conduct)> {
        let mut report = report();
        deliveries(&mut report).lost = lost;
        deliveries(&mut report).latency_seconds.as_mut().expect("it has some").p99 = p99;
        report.server.as_mut().expect("it is known").cpu_seconds_per_delivery = Some(cpu);
        figure(&report)
    }

    #[test]
    fn a_calibration_says_what_it_was_before_and_after() {
        let mut calibration = Calibration::begin(ran(0, 0.01, 2.9e-6).expect("a figure"));
        let begun = calibration.sentence(0.05);
        assert!(begun.starts_with("the floor spent 2.90 µs a delivery before (100/s"), "{begun}");
        calibration.end(ran(0, 0.05, 3.1e-6));
        let ended = calibration.sentence(0.05);
        assert!(ended.contains("2.90 µs a delivery before, 3.10 µs after (100/s"), "{ended}");
    }

    #[test]
    fn a_calibration_in_which_the_floor_lost_something_or_was_behind_is_not_to_be_trusted() {
        let mut calibration = Calibration::begin(ran(7, 0.01, 2.9e-6).expect("a figure"));
        calibration.end(ran(0, 0.08, 1.1e-6));
        let sentence = calibration.sentence(0.05);
        for part in [
            "2.90 µs a delivery before (not to be trusted: lost 7, p99 10.0 ms), ",
            "1.10 µs after (not to be trusted: lost 0, p99 80.0 ms) (100/s",
        ] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
        let lenient = calibration.sentence(0.1);
        assert!(lenient.contains("1.10 µs after (100/s"), "{lenient}");
    }
}
