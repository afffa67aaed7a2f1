//! Walks over all connections of a worker, a slice at a time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::inbox::Count;

/// Connections that a walk looks at before the worker's other tasks have their turn.
const VISITS_A_CYCLE: usize = 256;
/// The time after which they have it, though it was fewer.
const CYCLE_MAX: Duration = Duration::from_micros(500);

/// A walk that is under way. Whoever comes after it began may have been passed: what is walked for must hold for them without.
#[derive(Debug)]
pub(super) struct Walk {
    /// The key of the connection that is looked at next.
    next: usize,
    errand: Errand,
}

/// What it is for.
#[derive(Debug)]
enum Errand {
    Count(Count),
    /// Has everybody go whose grant is revoked.
    Revoke,
}

impl Walk {
    pub(super) fn to_count(count: Count) -> Self {
        Self { next: 0, errand: Errand::Count(count) }
    }

    pub(super) fn to_revoke() -> Self {
        Self { next: 0, errand: Errand::Revoke }
    }
}

impl Worker {
    /// Goes on with a walk; gives it back if it is not over.
    pub(super) fn go_on(&self, Walk { next, mut errand }: Walk) -> Option<Walk> {
        let end = next + VISITS_A_CYCLE;
        let slice: Vec<_> = {
            let connections = self.connections.borrow();
            (next..end).filter_map(|key| Some((key, Rc::clone(connections.get(key)?)))).collect()
        };
        let began = Instant::now();
        let mut end = end;
        for (key, connection) in &slice {
            match &mut errand {
                Errand::Count(count) => connection.be_counted(count),
                Errand::Revoke => self.guarded(connection, |connection| connection.close_if_revoked()),
            }
            if began.elapsed() > CYCLE_MAX {
                // One that subscribes to much takes long to close.
                end = key + 1;
                break;
            }
        }
        let is_over = end >= self.connections.borrow().capacity();
        match errand {
            Errand::Count(count) if is_over || count.is_forgotten() => count.end(),
            Errand::Revoke if is_over => {}
            errand => return Some(Walk { next: end, errand }),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::inbox::Arrival;
    use crate::worker::tests::{connect, worker};

    #[tokio::test]
    async fn a_walk_takes_as_many_cycles_as_there_are_slices_and_looks_at_everybody() {
        const CROWD: usize = VISITS_A_CYCLE + 1;
        let worker = worker();
        let mut lives = Vec::new();
        for _ in 0..CROWD {
            lives.push(connect(&worker, Encoding::Json).await);
        }
        let inbox = &worker.handle().inbox;
        let mut counted = std::pin::pin!(inbox.count("nobody".into()));
        assert!(futures_util::poll!(counted.as_mut()).is_pending());
        let mut arrivals = Vec::new();
        assert!(!inbox.take(false, &mut arrivals));
        let Some(Arrival::Ask(count)) = arrivals.pop() else { panic!("it asks") };
        let (mut walk, mut cycles) = (Some(Walk::to_count(count)), 0);
        while let Some(under_way) = walk.take() {
            cycles += 1;
            walk = worker.go_on(under_way);
        }
        assert!(cycles >= CROWD.div_ceil(VISITS_A_CYCLE), "{cycles}");
        assert_eq!(counted.await, Ok(0), "none of them is anybody's");
    }
}
