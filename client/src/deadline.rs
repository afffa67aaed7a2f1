//! Moments to come, whatever durations callers give.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never, and the clock can tell it.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The moment after so long from now on; one far away where the clock cannot tell it.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(NEVER)
}
