//! What topics keep, while it can be changed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::config::Retention;

/// A [`Retention`] that can be changed while topics ask for it: each value by itself, for none depends on another.
#[derive(Debug)]
pub(super) struct LiveRetention {
    history_count: AtomicUsize,
    history_bytes: AtomicUsize,
    history_ttl: AtomicU64,
    position_ttl: AtomicU64,
    duplicate_window: AtomicU64,
    duplicate_bytes: AtomicUsize,
    gather_max: AtomicU64,
}

/// In nanoseconds: longer ones than 584 years are as good as for ever.
fn nanos(length: Duration) -> u64 {
    length.as_nanos().try_into().unwrap_or(u64::MAX)
}

impl LiveRetention {
    pub(super) fn new(retention: Retention) -> Self {
        let Retention {
            history_count,
            history_bytes,
            history_ttl,
            position_ttl,
            duplicate_window,
            duplicate_bytes,
            gather_max,
        } = retention;
        Self {
            history_count: history_count.into(),
            history_bytes: history_bytes.into(),
            history_ttl: nanos(history_ttl).into(),
            position_ttl: nanos(position_ttl).into(),
            duplicate_window: nanos(duplicate_window).into(),
            duplicate_bytes: duplicate_bytes.into(),
            gather_max: nanos(gather_max).into(),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Retention {
        let count = |value: &AtomicUsize| value.load(Ordering::Relaxed);
        let length = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
        Retention {
            history_count: count(&self.history_count),
            history_bytes: count(&self.history_bytes),
            history_ttl: length(&self.history_ttl),
            position_ttl: length(&self.position_ttl),
            duplicate_window: length(&self.duplicate_window),
            duplicate_bytes: count(&self.duplicate_bytes),
            gather_max: length(&self.gather_max),
        }
    }

    pub(super) fn set(&self, retention: Retention) {
        let new = Self::new(retention);
        for (now, new) in [
            (&self.history_count, new.history_count),
            (&self.history_bytes, new.history_bytes),
            (&self.duplicate_bytes, new.duplicate_bytes),
        ] {
            now.store(new.into_inner(), Ordering::Relaxed);
        }
        for (now, new) in [
            (&self.history_ttl, new.history_ttl),
            (&self.position_ttl, new.position_ttl),
            (&self.duplicate_window, new.duplicate_window),
            (&self.gather_max, new.gather_max),
        ] {
            now.store(new.into_inner(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_can_be_changed() {
        let other = Retention {
            history_count: 1,
            history_bytes: 2,
            history_ttl: Duration::from_millis(3),
            position_ttl: Duration::from_secs(4),
            duplicate_window: Duration::from_nanos(5),
            duplicate_bytes: 6,
            gather_max: Duration::MAX,
        };
        let live = LiveRetention::new(Retention::default());
        assert_eq!(live.get(), Retention::default());
        live.set(other);
        let ages = Duration::from_nanos(u64::MAX);
        assert_eq!(live.get(), Retention { gather_max: ages, ..other });
    }
}
