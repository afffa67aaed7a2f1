//! The histograms of a run: all have the same bounds, so that they add up.

use hdrhistogram::Histogram;

/// Longest latency told apart from longer ones: a minute, in nanoseconds.
pub(super) const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// A histogram of nanoseconds with three digits, up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("these bounds are valid")
}
