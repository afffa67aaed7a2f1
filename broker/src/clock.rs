//! What time it is: one clock for lengths and orders, another for people.
//!
//! The wall clock can be set: it steps when it is corrected, and goes back. So nothing is ever measured or ordered
//! by it. What is measured here is [`Uptime`], which only goes forward; [`unix_ms`] is for what people read, and
//! for credentials that expire at a date.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When the first [`Uptime`] was asked for.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process started, by a clock that only goes forward. Time in which the machine is
/// suspended does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uptime(u64);

impl Uptime {
    /// The present moment.
    pub fn now() -> Self {
        Self(START.elapsed().as_millis() as u64)
    }

    /// The moment that another clock reading has told already.
    pub fn of(moment: Instant) -> Self {
        Self(moment.saturating_duration_since(*START).as_millis() as u64)
    }

    /// The moment so many milliseconds after the start.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Its milliseconds since the start: to be kept in an atomic, and made into a moment again.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// How long before this one the `earlier` moment was; nothing where it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How long ago that was.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The moment so long after this one.
    #[must_use]
    pub const fn plus(self, length: Duration) -> Self {
        let ms = length.as_millis();
        Self(self.0.saturating_add(if ms > u64::MAX as u128 { u64::MAX } else { ms as u64 }))
    }
}

/// Nanoseconds since the process started, by the same clock: half as large as an `Instant`, for what is kept
/// in great numbers. Lasts 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment that another clock reading has told already.
    pub fn of(moment: Instant) -> Self {
        Self(moment.saturating_duration_since(*START).as_nanos() as u64)
    }

    /// The present moment.
    pub fn now() -> Self {
        Self::of(Instant::now())
    }

    /// The moment so many nanoseconds after the start.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Its nanoseconds since the start: to be kept in an atomic.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// The moment as an `Instant`, to measure from.
    pub fn instant(self) -> Instant {
        *START + Duration::from_nanos(self.0)
    }

    /// The moment as an [`Uptime`], which is not as exact.
    pub const fn uptime(self) -> Uptime {
        Uptime(self.0 / 1_000_000)
    }
}

/// Unix milliseconds, by the wall clock.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
