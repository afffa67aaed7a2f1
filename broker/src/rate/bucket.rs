//! A token bucket that is one number, and what is left of it (GCRA). Pure.
//!
//! The number is the moment at which the bucket is full again. So one costs 8 bytes, needs nobody who fills it, and what
//! has been full for long needs not be kept at all. A library would bring a clock and a table of its own along, and twice
//! as many bytes for each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::config::Rate;
use crate::clock::Moment;

/// How far the clocks of those may be apart who share a bucket, in nanoseconds: each brings what its turn saw last.
const APART_NS: u64 = 100_000_000;

/// A bucket of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// In nanoseconds of [`Moment`].
    full_at: u64,
}

/// When a bucket that is full at `full_at` is full again after one thing more; or, where it is empty, when it is full
/// without it, and the time after which there is room for it.
fn one_more(full_at: u64, now: u64, rate: &Rate) -> (u64, Result<(), Duration>) {
    let (cost, size) = (rate.interval_ns(), rate.size_ns());
    // One that was emptied by a rate that is no longer configured is no emptier than empty. That has to be kept although
    // nothing is taken, or it would be just as empty whenever it is looked at, for as long as the rate before says.
    let full_at = full_at.clamp(now, now.saturating_add(size));
    let filled_for = full_at + cost - now;
    if filled_for > size {
        (full_at, Err(Duration::from_nanos(filled_for - size)))
    } else {
        (full_at + cost, Ok(()))
    }
}

impl Bucket {
    /// Takes one out.
    ///
    /// # Errors
    /// The time after which there is one again; nothing was taken.
    pub(crate) fn take(&mut self, now: Moment, rate: &Rate) -> Result<(), Duration> {
        let (full_at, taken) = one_more(self.full_at, now.as_ns(), rate);
        self.full_at = full_at;
        taken
    }

    /// What is missing has been taken by the rate `after`, and not by `before`.
    pub(super) fn reprice(&mut self, now: Moment, before: &Rate, after: &Rate) {
        let missing = self.full_at.saturating_sub(now.as_ns());
        let of_before = u128::from(before.interval_ns());
        let missing = u128::from(missing) * u128::from(after.interval_ns()) / of_before;
        self.full_at = now.as_ns().saturating_add(missing as u64);
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(&self, now: Moment) -> bool {
        self.full_at <= now.as_ns()
    }

    /// Puts back what was taken for something that was not done.
    pub(crate) fn put_back(&mut self, rate: &Rate) {
        self.full_at = self.full_at.saturating_sub(rate.interval_ns());
    }
}

/// A bucket that all threads share.
#[derive(Debug, Default)]
pub(crate) struct SharedBucket(AtomicU64);

impl SharedBucket {
    /// See [`Bucket::take`].
    pub(crate) fn take(&self, now: Moment, rate: &Rate) -> Result<(), Duration> {
        let mut taken = Ok(());
        let take = |before: u64| {
            let (full_at, outcome) = one_more(before, now.as_ns(), rate);
            taken = outcome;
            // Whoever is a little late must not give back what the others have taken meanwhile.
            (outcome.is_ok() || before - full_at > APART_NS).then_some(full_at)
        };
        let _before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken
    }

    /// See [`Bucket::put_back`].
    pub(crate) fn put_back(&self, rate: &Rate) {
        // Somebody may have found it fuller meanwhile, by a rate that is new.
        let put_back = |full_at: u64| Some(full_at.saturating_sub(rate.interval_ns()));
        let _before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put_back);
    }

    /// When it is full again, in nanoseconds of [`Moment`].
    pub(super) fn full_at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn at(ms: u64) -> Moment {
        Moment::from_ns(1_000_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_for_each_interval() {
        let (mut bucket, rate) = (Bucket::default(), rate("10/s burst 3"));
        for (ms, expected) in [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(100)),
            (40, Err(60)),
            (100, Ok(())),
            (100, Err(100)),
            (250, Ok(())),
            (250, Err(50)),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Err(100)),
        ] {
            assert_eq!(bucket.take(at(ms), &rate), expected.map_err(Duration::from_millis), "{ms} ms");
        }
        bucket.put_back(&rate);
        assert_eq!(bucket.take(at(10_000), &rate), Ok(()));
    }

    #[test]
    fn a_rate_that_is_lowered_makes_nobody_wait_for_more_than_an_empty_bucket() {
        let (mut bucket, before) = (Bucket::default(), rate("100/m burst 1000"));
        while bucket.take(at(0), &before).is_ok() {}
        assert_eq!(bucket.take(at(0), &rate("1/s")), Err(Duration::from_secs(1)));
    }

    #[test]
    fn whoever_has_used_up_a_rate_that_is_raised_is_let_through_when_told() {
        let (mut bucket, shared, before) = (Bucket::default(), SharedBucket::default(), rate("10/h"));
        while bucket.take(at(0), &before).is_ok() {}
        while shared.take(at(0), &before).is_ok() {}
        let raised = rate("10/s");
        for (ms, expected) in [(1000, Err(Duration::from_millis(100))), (1100, Ok(()))] {
            assert_eq!(bucket.take(at(ms), &raised), expected, "{ms} ms");
            assert_eq!(shared.take(at(ms), &raised), expected, "{ms} ms, shared");
        }
    }

    #[test]
    fn a_clock_that_is_a_little_late_gives_nothing_back_of_what_is_shared() {
        let (shared, rate) = (SharedBucket::default(), rate("1000/s"));
        while shared.take(at(50), &rate).is_ok() {}
        assert!(shared.take(at(0), &rate).is_err());
        assert!(shared.take(at(50), &rate).is_err(), "nothing has come back");
    }

    #[test]
    fn more_that_is_put_back_than_is_missing_leaves_it_full() {
        let (shared, rate) = (SharedBucket::default(), rate("1/h"));
        shared.put_back(&rate);
        assert_eq!(shared.take(Moment::from_ns(0), &rate), Ok(()));
    }

    proptest! {
        #[test]
        fn whoever_comes_when_told_is_let_through_and_a_shared_bucket_is_no_other(
            count in 1..1000u32, burst in 1..50u32, steps in prop::collection::vec(0..2000u64, 1..200),
        ) {
            let rate = rate(&format!("{count}/s burst {burst}"));
            let (mut bucket, shared, mut now, mut let_through) = (Bucket::default(), SharedBucket::default(), 0, 0u64);
            for step in steps {
                now += step;
                let taken = bucket.take(at(now), &rate);
                prop_assert_eq!(shared.take(at(now), &rate), taken);
                match taken {
                    Ok(()) => let_through += 1,
                    Err(after) => {
                        let then = Moment::from_ns(at(now).as_ns() + after.as_nanos() as u64);
                        prop_assert_eq!(bucket.clone().take(then, &rate), Ok(()));
                    }
                }
                let allowed = u64::from(burst) + now * u64::from(count) / 1000 + 1;
                prop_assert!(let_through <= allowed, "{let_through} of {allowed}");
            }
        }
    }
}
