//! Waiting, which has an end.

use std::future::Future;
use std::time::Duration;

/// How long anything may take that is expected to happen: long enough for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The result of what must happen before the deadline.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: waited {DEADLINE:?} for {what}"),
        }
    }
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    soon(what, async move {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
