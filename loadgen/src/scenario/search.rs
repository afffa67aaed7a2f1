//! Which rate to try next when the highest one is looked for: arithmetic alone.

/// How close the highest rate that works and the lowest that does not must come.
const CLOSE_ENOUGH: f64 = 1.05;
/// How often a rate is tried that was too slow: once may be chance.
const ATTEMPTS_MAX: u32 = 2;
/// Most rates that are tried, repetitions included.
const STEPS_MAX: u32 = 40;

/// What came of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateOutcome {
    Works,
    /// Failed for its latency alone: that may be chance, so it gets a second chance.
    TooSlow,
    /// Something went wrong that must not.
    Fails,
}

/// A search that doubles the rate until it no longer works, or halves it until it does, and then closes in.
#[derive(Debug)]
pub(crate) struct Search {
    rate: f64,
    /// Lower rates are not tried.
    rate_min: f64,
    /// The highest rate that worked.
    best: Option<f64>,
    /// The lowest that did not.
    worst: Option<f64>,
    /// How often the present rate was too slow.
    failures: u32,
    steps: u32,
}

impl Search {
    /// Begins with the rate `first`, and tries none below `rate_min`.
    pub(crate) fn new(first: f64, rate_min: f64) -> Self {
        Self { rate: first, rate_min, best: None, worst: None, failures: 0, steps: 0 }
    }

    /// The rate to try, unless enough is known.
    pub(crate) fn next(&self) -> Option<f64> {
        let close = self.best.zip(self.worst).is_some_and(|(best, worst)| worst / best <= CLOSE_ENOUGH);
        (!close && self.steps < STEPS_MAX && self.rate >= self.rate_min).then_some(self.rate)
    }

    /// Notes what came of the rate that was to be tried.
    pub(crate) fn tried(&mut self, tried: RateOutcome) {
        self.steps += 1;
        match tried {
            RateOutcome::Works => self.best = Some(self.rate),
            RateOutcome::TooSlow if self.failures + 1 < ATTEMPTS_MAX => {
                self.failures += 1;
                return;
            }
            RateOutcome::TooSlow | RateOutcome::Fails => self.worst = Some(self.rate),
        }
        self.failures = 0;
        self.rate = match (self.best, self.worst) {
            (Some(best), Some(worst)) => (best * worst).sqrt(),
            (Some(best), None) => best * 2.0,
            (None, _) => self.rate / 2.0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where all rates up to `limit` work; returns the best and how often a rate was tried.
    fn search(first: f64, limit: f64) -> (Option<f64>, u32) {
        let mut search = Search::new(first, 1.0);
        while let Some(rate) = search.next() {
            search.tried(if rate <= limit { RateOutcome::Works } else { RateOutcome::TooSlow });
        }
        (search.best, search.steps)
    }

    #[test]
    fn the_highest_rate_is_found_to_five_percent_from_below_and_above() {
        for (first, limit) in [(100.0, 5_300.0), (100.0, 100.0), (10_000.0, 5_300.0), (7.0, 123_456.0)] {
            let (best, steps) = search(first, limit);
            let best = best.expect("some rate works");
            assert!(best <= limit && best * CLOSE_ENOUGH >= limit, "{best} of {limit}");
            assert!(steps < 30, "{steps} steps");
        }
    }

    #[test]
    fn where_no_rate_works_it_ends_all_the_same() {
        let (best, steps) = search(1000.0, 0.0);
        assert_eq!(best, None);
        assert_eq!(steps, 2 * 10, "1,000 to 1.95, each twice");
        assert!(search(1.0, f64::INFINITY).1 <= STEPS_MAX);
    }

    #[test]
    fn a_rate_that_is_too_slow_gets_a_second_chance_and_one_that_fails_does_not() {
        let mut search = Search::new(100.0, 1.0);
        search.tried(RateOutcome::TooSlow);
        assert_eq!(search.next(), Some(100.0));
        search.tried(RateOutcome::Works);
        assert_eq!(search.next(), Some(200.0));
        search.tried(RateOutcome::Fails);
        assert!(search.next().is_some_and(|rate| rate < 200.0));
    }
}
