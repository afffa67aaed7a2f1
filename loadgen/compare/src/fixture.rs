//! A report as a scenario writes it, for tests.

use fanfare_loadgen_core::report::Report;

/// A report in which nothing is zero that should show.
pub(crate) fn report() -> Report {
    serde_json::from_str(include_str!("fixture.json")).expect("a report")
}
