//! The time for which the driver reads nothing, so that its readers can follow: bounded.

use std::time::Duration;

use tokio::time::Instant;

use super::backpressure::Backpressure;

/// How long the driver may read nothing because queues are full, while they go on reading, ...
const HELD_MAX: Duration = Duration::from_secs(2);
/// ... and after how many times as much time it may do so again. A reader that is too slow for its topic costs the
/// others no more than a quarter of their time.
const PAUSE_FACTOR: u32 = 3;
/// How long one that reads nothing at all is waited for.
const STANDSTILL_MAX: Duration = Duration::from_millis(250);
/// The time between two looks counts as no more than this, while the driver waits: on a machine that has no time for the
/// driver the reader had none either.
const LOOK: Duration = Duration::from_millis(50);
/// Less than this is not worth a pause.
const HELD_MIN: Duration = Duration::from_millis(10);

/// The pauses in which the driver reads nothing, and what is left for them.
#[derive(Debug)]
pub(crate) struct ReadPause {
    /// The time that it may still pause, as of `at`.
    left: Duration,
    at: Instant,
    holding: bool,
    /// The progress last seen, and how long nothing was read since.
    progress: (u64, Duration),
}

impl ReadPause {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { left: HELD_MAX, at: now, holding: false, progress: (0, Duration::ZERO) }
    }

    /// Whether to read nothing now, and if so until when at most.
    pub(crate) fn hold(&mut self, backpressure: &Backpressure) -> Option<Instant> {
        let is_full = backpressure.is_full();
        if !is_full && !self.holding && self.left == HELD_MAX {
            // The clock need not be looked at.
            return None;
        }
        let now = Instant::now();
        let passed = now.duration_since(self.at);
        let held = passed.min(LOOK);
        self.left = match self.holding {
            true => self.left.saturating_sub(held),
            false => (self.left + passed / PAUSE_FACTOR).min(HELD_MAX),
        };
        self.at = now;
        let progress = backpressure.progress_made();
        let stood_still = match self.holding && progress == self.progress.0 {
            true => self.progress.1 + held,
            false => Duration::ZERO,
        };
        self.progress = (progress, stood_still);
        let least = if self.holding { Duration::from_nanos(1) } else { HELD_MIN };
        self.holding = is_full && self.left >= least && stood_still < STANDSTILL_MAX;
        if is_full && !self.holding {
            backpressure.give_up();
        }
        self.holding.then(|| now + LOOK.min(self.left).min(STANDSTILL_MAX - stood_still))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_nothing_is_waited_for_a_moment() {
        let (backpressure, mut read_pause) = (Backpressure::default(), ReadPause::new());
        let mut hold =
            |backpressure: &Backpressure| read_pause.hold(backpressure).map(|until| until - Instant::now());
        assert_eq!(hold(&backpressure), None);
        let first = backpressure.fill();
        for _ in 0..STANDSTILL_MAX.as_millis() / LOOK.as_millis() {
            assert_eq!(hold(&backpressure), Some(LOOK));
            tokio::time::advance(LOOK).await;
        }
        assert_eq!(hold(&backpressure), None, "that was all");
        assert!(!backpressure.is_full(), "whoever was full is given up");
        backpressure.relieve(first);
        tokio::time::advance(MS(1)).await;
        let second = backpressure.fill();
        assert_eq!(hold(&backpressure), Some(LOOK), "the next one has its moment");
        backpressure.relieve(second);
        assert_eq!(hold(&backpressure), None, "relieved");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_driver_did_not_run_counts_against_no_reader() {
        let (backpressure, mut read_pause) = (Backpressure::default(), ReadPause::new());
        backpressure.fill();
        assert!(read_pause.hold(&backpressure).is_some());
        for _ in 0..4 {
            tokio::time::advance(10 * HELD_MAX).await;
            assert!(read_pause.hold(&backpressure).is_some(), "nobody had a turn");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_on_reading_is_waited_for_longer_and_a_quarter_of_the_time_at_most() {
        let (backpressure, mut read_pause) = (Backpressure::default(), ReadPause::new());
        let began = Instant::now();
        let mut held = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(100) {
            // Slow, and never at rest.
            backpressure.progress();
            if !backpressure.is_full() {
                backpressure.fill();
            }
            let holds = read_pause.hold(&backpressure).is_some();
            if began.elapsed() < HELD_MAX {
                assert!(holds, "a burst, after {:?}", began.elapsed());
            }
            tokio::time::advance(MS(1)).await;
            held += if holds { MS(1) } else { Duration::ZERO };
        }
        assert!((20..30).contains(&held.as_secs()), "{held:?} of 100 s");
    }
}
