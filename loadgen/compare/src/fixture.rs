//! A report as a scenario writes it, for tests.

use fanfare_loadgen_core::report::{Deliveries, Findings, Report};

/// A report in which nothing is zero that should show.
pub(crate) fn report() -> Report {
    serde_json::from_str(include_str!("fixture.json")).expect("a report")
}

/// What was delivered in such a report, to be changed.
pub(crate) fn deliveries(report: &mut Report) -> &mut Deliveries {
    let Findings::Steady(deliveries) = &mut report.findings else { panic!("it is steady") };
    deliveries
}
