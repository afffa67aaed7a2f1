//! How many requests a worker begins before its other tasks have had their turn.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use tokio::sync::Semaphore;

/// Requests that may begin in one cycle of a worker's tasks.
const REQUESTS_A_CYCLE: usize = 16;

/// Lets so many requests of one worker begin, then all others wait, first come first served, until the
/// worker's other tasks have run.
///
/// Its queue is bounded by the connections: each has one request at hand.
pub(crate) struct Gate {
    /// What is left of this cycle. The semaphore is fair: who waits is served before who comes.
    left: Semaphore,
    waiting: Cell<usize>,
    /// Whether a task refills it; there is one only while somebody waits.
    is_refilled: Cell<bool>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("waiting", &self.waiting.get()).finish_non_exhaustive()
    }
}

/// Counts one that waits, also when it gives up.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Gate {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            left: Semaphore::new(REQUESTS_A_CYCLE),
            waiting: Cell::new(0),
            is_refilled: Cell::new(false),
        })
    }

    /// Returns when the request may begin. Must be called within a `LocalSet`; `spawn` starts a task of it.
    ///
    /// # Cancel safety
    /// Cancel safe; the place in the queue is lost.
    pub(crate) async fn enter(self: &Rc<Self>, spawn: impl FnOnce(Refill)) {
        if let Ok(permit) = self.left.try_acquire() {
            return permit.forget();
        }
        let _waiting = Waiting::new(&self.waiting);
        if !self.is_refilled.replace(true) {
            spawn(Box::pin(Rc::clone(self).refill()));
        }
        self.left.acquire().await.expect("it is never closed").forget();
    }

    async fn refill(self: Rc<Self>) {
        while self.waiting.get() > 0 {
            tokio::task::yield_now().await;
            self.left.add_permits(REQUESTS_A_CYCLE - self.left.available_permits());
        }
        self.is_refilled.set(false);
    }
}

/// What refills a gate; runs until nobody waits any more.
pub(crate) type Refill = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_begins_in_order_a_few_a_cycle() {
        const COUNT: usize = 10 * REQUESTS_A_CYCLE;
        let (gate, begun) = (Gate::new(), Rc::new(RefCell::new(Vec::new())));
        let local = LocalSet::new();
        for nth in 0..COUNT {
            let (gate, begun) = (Rc::clone(&gate), Rc::clone(&begun));
            local.spawn_local(async move {
                gate.enter(|refill| drop(tokio::task::spawn_local(refill))).await;
                begun.borrow_mut().push(nth);
            });
        }
        let most_at_once = Rc::new(Cell::new(0));
        let (seen, most) = (Rc::clone(&begun), Rc::clone(&most_at_once));
        local.spawn_local(async move {
            let mut before = 0;
            while before < COUNT {
                tokio::task::yield_now().await;
                let now = seen.borrow().len();
                most.set(most.get().max(now - before));
                before = now;
            }
        });
        local.await;
        assert_eq!(*begun.borrow(), (0..COUNT).collect::<Vec<_>>());
        assert!(most_at_once.get() <= 2 * REQUESTS_A_CYCLE, "{} began at once", most_at_once.get());
        assert!(!gate.is_refilled.get(), "nothing runs while nobody waits");
    }

    #[tokio::test]
    async fn who_gives_up_takes_nothing_with_it() {
        let gate = Gate::new();
        LocalSet::new()
            .run_until(async {
                let spawn = |refill| drop(tokio::task::spawn_local(refill));
                for _ in 0..REQUESTS_A_CYCLE {
                    gate.enter(spawn).await;
                }
                {
                    let mut gone = std::pin::pin!(gate.enter(spawn));
                    assert!(futures_util::poll!(gone.as_mut()).is_pending());
                }
                gate.enter(spawn).await;
            })
            .await;
        assert_eq!(gate.waiting.get(), 0);
    }
}
