//! Fresh credentials for a connection that lives longer than its first ones.

use std::future::pending;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::transport::{DialOptions, TokenSource};

/// The shortest time between two refreshes, and the wait after one that failed.
const PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Refresh {
    source: TokenSource,
    /// The time in which the source is to answer.
    within: Duration,
    due: Option<Instant>,
    /// When it was asked last.
    asked_at: Option<Instant>,
    asking: Option<BoxFuture<'static, Option<String>>>,
    /// What time it was where the broker is, ...
    date: SystemTime,
    /// ... and when that was.
    dated: Instant,
}

impl Refresh {
    /// The refresh of a connection that was made when it was `date` where the broker is: when credentials
    /// expire is the broker's word, by the broker's clock.
    pub(crate) fn new(options: &DialOptions, expires_at: Option<u64>, date: SystemTime) -> Self {
        let mut refresh = Self {
            source: options.token.clone(),
            within: options.attempt_timeout,
            due: None,
            asked_at: None,
            asking: None,
            date,
            dated: Instant::now(),
        };
        refresh.schedule(expires_at);
        refresh
    }

    /// The present credentials expire then, in Unix milliseconds.
    pub(crate) fn schedule(&mut self, expires_at: Option<u64>) {
        let now = self.date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + self.dated.elapsed();
        self.due = expires_at
            .filter(|_| self.source.can_change())
            .and_then(|expires_at| Instant::now().checked_add(wait(now, Duration::from_millis(expires_at))));
    }

    /// The broker says that the present credentials expire soon: fresh ones are asked for at once, unless they were just now.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let was_asked = self.asked_at.is_some_and(|at| now.duration_since(at) < PAUSE);
        if self.source.can_change() && !was_asked {
            self.due = Some(now);
        }
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Asks for fresh credentials, if it is time.
    pub(crate) fn start_if_due(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            // Replaced when the broker answers; until then this is the wait after a failure.
            self.due = Some(now + PAUSE);
            if self.asking.is_none() {
                self.asked_at = Some(now);
                self.asking = Some(Box::pin(ask(self.source.clone(), self.within)));
            }
        }
    }

    /// Waits for fresh credentials; for ever, when none were asked for. `None` when there are none to be had.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn token(&mut self) -> Option<String> {
        let Some(asking) = &mut self.asking else { return pending().await };
        let token = asking.await;
        self.asking = None;
        token
    }
}

async fn ask(source: TokenSource, within: Duration) -> Option<String> {
    match timeout(within, source.get()).await {
        Ok(Ok(token)) => token,
        Ok(Err(error)) => {
            warn!(%error, "no fresh token");
            None
        }
        // It is asked again, or else would never be on this connection.
        Err(_) => {
            warn!(?within, "no fresh token in time");
            None
        }
    }
}

/// Nine tenths of what is left.
fn wait(now: Duration, expires_at: Duration) -> Duration {
    (expires_at.saturating_sub(now) * 9 / 10).max(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_refreshed_with_a_tenth_of_their_life_left() {
        let seconds = Duration::from_secs;
        assert_eq!(wait(seconds(1_000), seconds(1_600)), seconds(540));
    }

    #[test]
    fn credentials_that_expired_already_are_not_refreshed_in_a_tight_loop() {
        let seconds = Duration::from_secs;
        assert_eq!(wait(seconds(1_000), seconds(900)), PAUSE);
    }
}
