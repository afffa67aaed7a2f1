//! Whether a worker runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Uptime;
use crate::metrics::Registry;

/// How often somebody looks at the workers' heartbeats.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// Looks in a row that find no new beat before a worker counts as hung: 10 s.
const MISSED_MAX: u32 = 20;
/// Looks after which it accepts no sockets for others: 2 s.
const MISSED_FEW: u32 = 4;
/// Looks in a row that find a new beat before a worker is trusted to accept for others again: 10 s.
const SEEN_ENOUGH: u32 = 20;
/// The beat of a worker that has ended in peace.
const AT_REST: u64 = u64::MAX;

/// Written by a worker now and then while it runs.
///
/// Looks judge it, not the clock: where the whole process did not run (it was stopped, the machine was asleep
/// or overloaded) nobody looked either, and a worker that could not run is not called hung.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// When it last beat, in milliseconds of [`Uptime`].
    at: AtomicU64,
    /// The beat that the last look saw, in milliseconds of [`Uptime`].
    seen: AtomicU64,
    /// Looks in a row that saw no new beat.
    missed: AtomicU32,
    /// Looks in a row that saw one.
    found: AtomicU32,
}

impl Heartbeat {
    /// The worker runs.
    pub(crate) fn beat(&self) {
        self.at.store(Uptime::now().as_ms(), Ordering::Relaxed);
    }

    /// The worker has nothing more to do, and is not judged any more.
    pub(crate) fn rest(&self) {
        self.at.store(AT_REST, Ordering::Relaxed);
    }

    /// Looks whether it has beaten since the last look. For one thread.
    pub(crate) fn look(&self) {
        let at = self.at.load(Ordering::Relaxed);
        let has_beaten = self.seen.swap(at, Ordering::Relaxed) != at;
        let one_more = |looks: &AtomicU32| looks.load(Ordering::Relaxed) + 1;
        let missed = if has_beaten || at == AT_REST { 0 } else { one_more(&self.missed) };
        let found = if has_beaten { one_more(&self.found) } else { 0 };
        self.missed.store(missed, Ordering::Relaxed);
        self.found.store(found, Ordering::Relaxed);
    }

    /// How long ago the last beat was; nothing where the worker is at rest.
    pub(crate) fn age(&self) -> Duration {
        Uptime::from_ms(self.at.load(Ordering::Relaxed)).elapsed()
    }

    /// Whether the worker seems not to run although others do.
    pub(crate) fn is_late(&self) -> bool {
        self.missed.load(Ordering::Relaxed) >= MISSED_FEW
    }

    /// Whether the worker has run for so long that it is not about to stop again.
    pub(crate) fn is_steady(&self) -> bool {
        self.found.load(Ordering::Relaxed) >= SEEN_ENOUGH
    }

    /// So many looks, each of which finds a new beat, or none does.
    #[cfg(test)]
    pub(crate) fn look_often(&self, looks: u32, beats: bool) {
        for _ in 0..looks {
            self.at.fetch_add(beats.into(), Ordering::Relaxed);
            self.look();
        }
    }

    /// Whether the worker does not run although others do.
    pub(crate) fn is_hung(&self) -> bool {
        self.missed.load(Ordering::Relaxed) >= MISSED_MAX
    }
}

/// Has the workers' beats read when somebody scrapes.
pub(crate) fn register(registry: &Registry, heartbeats: Vec<Arc<Heartbeat>>) {
    registry.read_gauges(
        "fanfare_worker_heartbeat_age_seconds",
        "How long ago a worker last said that it runs.",
        &["worker"],
        move |add| {
            for (worker, heartbeat) in heartbeats.iter().enumerate() {
                add(&[&worker.to_string()], heartbeat.age().as_secs_f64());
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hung_after(looks: u32, heartbeat: &Heartbeat) -> bool {
        (0..looks).for_each(|_| heartbeat.look());
        heartbeat.is_hung()
    }

    #[test]
    fn a_worker_hangs_that_does_not_beat_while_others_look() {
        let heartbeat = Heartbeat::default();
        heartbeat.at.store(1, Ordering::Relaxed);
        assert!(!hung_after(MISSED_MAX, &heartbeat), "the first look sees something new");
        assert!(hung_after(1, &heartbeat));
        heartbeat.at.store(2, Ordering::Relaxed);
        assert!(!hung_after(1, &heartbeat), "it runs again");
    }

    #[test]
    fn time_in_which_nobody_looked_is_held_against_no_worker() {
        let heartbeat = Heartbeat::default();
        heartbeat.at.store(1, Ordering::Relaxed);
        heartbeat.look();
        // The process stood still for long, whatever the clock says by now.
        assert!(!hung_after(1, &heartbeat));
    }

    #[test]
    fn a_worker_that_ended_in_peace_is_not_hung() {
        let heartbeat = Heartbeat::default();
        heartbeat.rest();
        assert!(!hung_after(10 * MISSED_MAX, &heartbeat));
        assert_eq!(heartbeat.age(), Duration::ZERO);
    }
}
