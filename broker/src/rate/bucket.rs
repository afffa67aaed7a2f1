//! A token bucket that is one number, and what is left of it (GCRA). Pure.
//!
//! The number is the moment at which the bucket is full again. So one costs 8 bytes, needs nobody who fills it, and what
//! has been full for long needs not be kept at all. A library would bring a clock and a table of its own along, and twice
//! as many bytes for each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::config::Rate;
use crate::clock::Moment;

/// A bucket of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// In nanoseconds of [`Moment`].
    full_at: u64,
}

/// When a bucket that is full at `full_at` is full again after one thing more.
///
/// # Errors
/// The time after which there is room for it: it is empty.
fn one_more(full_at: u64, now: u64, rate: &Rate) -> Result<u64, Duration> {
    let (cost, size) = (rate.interval_ns(), rate.size_ns());
    // One that was filled by a rate that is no longer configured is no emptier than empty.
    let full_at = full_at.clamp(now, now.saturating_add(size)) + cost;
    let filled_for = full_at - now;
    if filled_for > size { Err(Duration::from_nanos(filled_for - size)) } else { Ok(full_at) }
}

impl Bucket {
    /// Takes one out.
    ///
    /// # Errors
    /// The time after which there is one again; nothing was taken.
    pub(crate) fn take(&mut self, now: Moment, rate: &Rate) -> Result<(), Duration> {
        self.full_at = one_more(self.full_at, now.as_ns(), rate)?;
        Ok(())
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
        let mut wait = Duration::ZERO;
        let take = |full_at| one_more(full_at, now.as_ns(), rate).inspect_err(|after| wait = *after).ok();
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| wait)
    }

    /// See [`Bucket::put_back`].
    pub(crate) fn put_back(&self, rate: &Rate) {
        self.0.fetch_sub(rate.interval_ns(), Ordering::Relaxed);
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
