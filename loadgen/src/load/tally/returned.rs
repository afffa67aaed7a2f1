//! How subscribers came back that were cut off.

use hdrhistogram::Histogram;

use super::histogram::histogram;
use crate::target::Recovery;

/// How those that were cut off came back; those of several threads add up.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) recovered: u64,
    pub(crate) reloads: u64,
    pub(crate) replayed: u64,
    pub(crate) failed_attempts: u64,
    /// The time from the cut until they were subscribed again, in nanoseconds.
    pub(crate) back: Histogram<u64>,
    /// The time from the cut until they had what they missed, in nanoseconds.
    pub(crate) caught_up: Histogram<u64>,
}

impl Returned {
    pub(crate) fn new() -> Self {
        Self {
            recovered: 0,
            reloads: 0,
            replayed: 0,
            failed_attempts: 0,
            back: histogram(),
            caught_up: histogram(),
        }
    }

    /// Counts one more that is back, so long after the cut, and has caught up so long after it, in nanoseconds.
    pub(crate) fn count(&mut self, recovery: Option<Recovery>, back_ns: u64, caught_up_ns: u64) {
        match recovery {
            Some(Recovery::Replay(count)) => {
                self.recovered += 1;
                self.replayed += count;
            }
            Some(Recovery::Reload) => self.reloads += 1,
            None => {}
        }
        self.back.saturating_record(back_ns);
        self.caught_up.saturating_record(caught_up_ns);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.recovered += other.recovered;
        self.reloads += other.reloads;
        self.replayed += other.replayed;
        self.failed_attempts += other.failed_attempts;
        self.back.add(&other.back).expect("all histograms have the same bounds");
        self.caught_up.add(&other.caught_up).expect("all histograms have the same bounds");
    }
}
