//! How long to wait before the next try: pure arithmetic, the chance comes from outside.

use std::time::Duration;

/// A connection that lived this long counts as stable: the next loss starts from the shortest wait.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Exponential back-off with full jitter: the n-th wait is anywhere between nothing and
/// `base * 2^n`, at most `max`.
///
/// The first retry is spread too. When a broker restarts, all its clients lose their connections in the same
/// moment; without jitter they would all be back in the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    /// Tries since the last stable connection.
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, attempt: 0 }
    }

    /// The next wait; `chance` is a random number from 0 to 1.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let ceiling = self.base.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// A connection was lost after it had lived that long; returns whether it counts as stable.
    pub(crate) fn lived(&mut self, life: Duration) -> bool {
        let stable = life >= STABLE_AFTER;
        if stable {
            self.attempt = 0;
        }
        stable
    }

    /// How many tries were made since the last stable connection.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(20))
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        let mut backoff = backoff();
        let ceilings: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
    }

    #[test]
    fn the_first_wait_is_jittered_too() {
        assert_eq!(backoff().next(0.0), Duration::ZERO);
        assert_eq!(backoff().next(0.5), Duration::from_millis(250));
    }

    #[test]
    fn ten_thousand_tries_do_not_overflow() {
        let mut backoff = backoff();
        let longest = (0..10_000).map(|_| backoff.next(1.0)).max();
        assert_eq!(longest, Some(Duration::from_secs(20)));
    }

    #[test]
    fn only_a_stable_connection_starts_over() {
        let mut backoff = backoff();
        for _ in 0..4 {
            backoff.next(1.0);
        }
        assert!(!backoff.lived(Duration::from_millis(29_999)));
        assert_eq!(backoff.next(1.0), Duration::from_secs(8));
        assert!(backoff.lived(Duration::from_secs(30)));
        assert_eq!(backoff.next(1.0), Duration::from_millis(500));
    }
}
