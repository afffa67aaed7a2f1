//! A distribution in a few numbers.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A distribution of times, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: f64,
    /// 90% are at most this.
    pub p90: f64,
    /// 99% are at most this.
    pub p99: f64,
    /// 99.9% are at most this.
    pub p99_9: f64,
    /// 99.99% are at most this.
    pub p99_99: f64,
    /// The largest of all.
    pub max: f64,
}

impl Quantiles {
    /// The quantiles of a histogram of nanoseconds, unless it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e9;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_off_a_histogram_in_seconds() {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        assert!(Quantiles::of(&histogram).is_none());
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000).expect("in bounds"));
        let quantiles = Quantiles::of(&histogram).expect("not empty");
        for (seconds, expected) in [(quantiles.p50, 0.5), (quantiles.p99, 0.99), (quantiles.max, 1.0)] {
            assert!((seconds / expected - 1.0).abs() < 0.002, "{seconds} is about {expected}");
        }
    }
}
