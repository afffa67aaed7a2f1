//! Whether a connection that is silent is still there.

use std::time::Duration;

use tokio::time::Instant;

/// What has had no answer for so long, on a connection that is silent, makes the client ask for a sign of life, ...
const ASK_AFTER: Duration = Duration::from_secs(5);
/// ... and after so long the connection is lost: before publishes fail that another one would take.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(10);

/// Whether the connection is still there, while something waits for a reply and nothing is heard.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// The moment since which something has waited without a pause.
    waiting: Option<Instant>,
    /// The moment since which it has waited and nothing was heard.
    since: Option<Instant>,
    /// The `since` for which a sign of life was asked for.
    asked: Option<Instant>,
}

impl Doubt {
    /// The moment since which something waits and nothing was heard, if so.
    pub(crate) fn since(&mut self, is_waiting: bool, last_heard: Instant) -> Option<Instant> {
        self.waiting = is_waiting.then(|| self.waiting.unwrap_or_else(Instant::now));
        self.since = self.waiting.map(|since| since.max(last_heard));
        self.since
    }

    /// When to ask for a sign of life.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| self.since != self.asked).map(|since| since + ASK_AFTER)
    }

    /// Whether to ask for one now; it counts as asked then.
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        let asks = self.due().is_some_and(|due| due <= now);
        if asks {
            self.asked = self.since;
        }
        asks
    }
}
