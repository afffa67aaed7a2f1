//! Looking at connections wherever they are, and wherever they go meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::directory::Listed;
use crate::hub::Hub;
use crate::ids::ConnectionId;
use crate::inbox::{ASKED_MAX, Visited};

/// The time in which a connection is found that moves while it is looked for.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// The time after which it is looked for again.
const AGAIN: Duration = Duration::from_millis(1);

/// A connection that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub(crate) id: ConnectionId,
    /// The time since it was opened, in whole seconds.
    pub(crate) age: Duration,
    /// What was seen.
    pub(crate) seen: T,
}

/// Looks at those connections: what was seen of them in the order of their ids. Those are left out that are no more; one that
/// moves is looked for until it is found.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
pub(super) async fn look_at<T: Send + 'static>(
    hub: &Hub,
    mut left: Vec<Listed>,
    look: &Arc<impl Fn(&dyn Visited) -> T + Send + Sync + 'static>,
) -> Result<Vec<Found<T>>, Refusal> {
    let until = Instant::now() + FOUND_WITHIN;
    let mut found = BTreeMap::new();
    loop {
        let visits = by_worker(std::mem::take(&mut left)).into_iter().map(|(worker, listed)| async move {
            let asked = listed.iter().map(|one| (one.key, one.id)).collect();
            let look = Arc::clone(look);
            let seen = hub.workers[worker].inbox.visit(asked, move |visited| look(visited)).await?;
            Ok::<_, Refusal>((listed, seen))
        });
        let mut has_moved = false;
        for (listed, seen) in try_join_all(visits).await? {
            // The worker had no time for the rest.
            left.extend_from_slice(&listed[seen.len()..]);
            for (one, seen) in listed.into_iter().zip(seen) {
                match seen {
                    Some(seen) => drop(found.insert(one.id, Found { id: one.id, age: one.age, seen })),
                    None => {
                        let now = hub.directory.find(one.id);
                        has_moved |= now.is_some();
                        left.extend(now);
                    }
                }
            }
        }
        if left.is_empty() {
            return Ok(found.into_values().collect());
        }
        if has_moved {
            if Instant::now() >= until {
                return Err(Refusal::Unanswered);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// What each worker is asked for, of which no inquiry has more than it may.
fn by_worker(listed: Vec<Listed>) -> BTreeMap<usize, Vec<Listed>> {
    debug_assert!(listed.len() <= ASKED_MAX);
    let mut by_worker = BTreeMap::<_, Vec<_>>::new();
    for one in listed {
        by_worker.entry(one.worker).or_default().push(one);
    }
    by_worker
}

/// Looks at all connections after that one, a few at a time, until `take` has enough of what was seen and says so, or `most` were looked
/// at. Returns the last one that it took or looked at, where there may be more behind it.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
pub(super) async fn scan<T: Send + 'static>(
    hub: &Hub,
    mut after: Option<ConnectionId>,
    (slice, most): (usize, usize),
    look: impl Fn(&dyn Visited) -> T + Send + Sync + 'static,
    mut take: impl FnMut(Found<T>) -> bool,
) -> Result<Option<ConnectionId>, Refusal> {
    let (look, mut looked_at) = (Arc::new(look), 0);
    let slice = slice.clamp(1, ASKED_MAX);
    while looked_at < most {
        let listed = hub.directory.after(after, slice);
        let Some(last) = listed.last() else { return Ok(None) };
        looked_at += listed.len();
        after = Some(last.id);
        for found in look_at(hub, listed, &look).await? {
            let id = found.id;
            if take(found) {
                return Ok(Some(id).filter(|_| !hub.directory.after(Some(id), 1).is_empty()));
            }
        }
    }
    Ok(after)
}
