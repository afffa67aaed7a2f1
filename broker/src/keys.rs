//! Keeps the key sets that are read from a URL: fetches each of them, again and again. Nobody waits for that.
//!
//! Where they are fetched says the configuration alone. One task has all of them, so what a configuration no longer has
//! ends with its place in here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use prometheus::IntCounterVec;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::access::KeySet;
use crate::clock::Uptime;
use crate::config::JwksTimes;
use crate::fetch::{FetchError, fetch};
use crate::hub::Hub;

/// Longest key set, in bytes.
const SET_BYTES_MAX: usize = 256 * 1024;
/// One line a set is logged in so long of what has failed.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// What is counted of fetches.
#[derive(Debug)]
pub(crate) struct KeyMetrics {
    fetches: IntCounterVec,
}

impl KeyMetrics {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let weak: Weak<Hub> = Arc::downgrade(hub);
        hub.registry.read_gauges(
            "fanfare_jwks_last_success_timestamp_seconds",
            "When the key set was last fetched whose last time is the longest ago, in Unix seconds; 0 before the first.",
            &[],
            move |add| {
                let sets = weak.upgrade().map(|hub| hub.access().fetched_sets()).unwrap_or_default();
                let fetched = sets.iter().map(|set| set.fetched_unix_ms().unwrap_or(0));
                if let Some(longest_ago) = fetched.min() {
                    add(&[], longest_ago as f64 / 1000.0);
                }
            },
        );
        let fetches = hub.registry.counters(
            "fanfare_jwks_fetches_total",
            "Key sets fetched, by outcome.",
            &["outcome"],
        );
        Self { fetches }
    }
}

/// Why a key set was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is none, or none of ours.
    #[error("what it answered {0}")]
    Invalid(String),
}

impl Failure {
    /// The word under which it is counted.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Unreachable(_)) => "unreachable",
            Self::Fetch(FetchError::TimedOut(_)) => "timeout",
            Self::Fetch(FetchError::Status(_)) => "status",
            Self::Fetch(FetchError::TooLarge(_)) => "too_large",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// Keeps the key sets of the configuration that counts, until `end`.
///
/// # Cancel safety
/// Dropped, all that it fetches is dropped too; begun anew it fetches all at once.
pub(crate) async fn run(hub: &Hub, metrics: &KeyMetrics, end: &CancellationToken) {
    let mut kept: Vec<(Arc<KeySet>, AbortHandle)> = Vec::new();
    let mut keeping = FuturesUnordered::new();
    loop {
        let wanted = hub.access().fetched_sets();
        kept.retain(|(set, keeper)| {
            let is_wanted = wanted.iter().any(|other| Arc::ptr_eq(other, set));
            if !is_wanted {
                keeper.abort();
            }
            is_wanted
        });
        for set in wanted {
            if !kept.iter().any(|(other, _)| Arc::ptr_eq(other, &set)) {
                let (keeper, handle) = abortable(keep(hub, metrics, Arc::clone(&set)));
                keeping.push(keeper);
                kept.push((set, handle));
            }
        }
        tokio::select! {
            () = end.cancelled() => return,
            () = hub.access_changed() => {}
            // One that was given up.
            Some(_) = keeping.next() => {}
        }
    }
}

/// Fetches one set, for ever: at once, then when it is due or asked for, and a little later where that fails.
async fn keep(hub: &Hub, metrics: &KeyMetrics, set: Arc<KeySet>) {
    let mut failures = 0;
    let mut warned_at = None;
    loop {
        let times = hub.config().server.testing.jwks.unwrap_or_default();
        let begun = Instant::now();
        // Who has asked until now is answered by this one.
        let _asked = set.asked().now_or_never();
        let due = match fetch_set(hub, &set, times).await {
            Ok(()) => {
                metrics.fetches.with_label_values(&["ok"]).inc();
                failures = 0;
                times.interval
            }
            Err(failure) => {
                metrics.fetches.with_label_values(&[failure.outcome()]).inc();
                if warned_at.is_none_or(|at: Uptime| at.elapsed() >= WARNING_PAUSE) {
                    warned_at = Some(Uptime::now());
                    warn(&set, &failure);
                }
                let wait = times.retry.saturating_mul(1 << failures).min(times.pause);
                failures = (failures + 1).min(8);
                wait
            }
        };
        let asked = async {
            sleep_until(begun + times.pause).await;
            set.asked().await;
        };
        tokio::select! {
            () = sleep(jittered(due)) => {}
            () = asked => {}
        }
    }
}

async fn fetch_set(hub: &Hub, set: &KeySet, times: JwksTimes) -> Result<(), Failure> {
    let Some(target) = set.target() else { return Ok(()) };
    let begun = Uptime::now();
    let text = fetch(target, SET_BYTES_MAX, times.timeout).await?;
    let taken = set.take(&text, begun, begun.plus(times.pause)).map_err(Failure::Invalid)?;
    if taken.removed > 0 {
        hub.tell_of_revocation();
    }
    if taken.added > 0 || taken.removed > 0 {
        let (added, removed) = (taken.added, taken.removed);
        tracing::info!(host = target.host(), added, removed, "the keys of a key set have changed");
    }
    Ok(())
}

fn warn(set: &KeySet, failure: &Failure) {
    let host = set.target().map_or("", |target| target.host());
    let fetched = set.fetched_unix_ms().is_some();
    tracing::warn!(
        host,
        error = %failure,
        "a key set could not be fetched; {}",
        match fetched {
            true => "the keys that are there count until they are older than access.jwks_max_age",
            false => "until it can, nobody is admitted by it",
        }
    );
}

/// Something around that time, so that brokers that were started together do not ask together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.9..=1.1))
}
