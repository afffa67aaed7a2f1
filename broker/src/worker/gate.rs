//! How many turns HTTP connections that read have before a worker's other tasks have had theirs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Turns that a worker's HTTP connections have together in one cycle of its tasks.
const TURNS_A_CYCLE: usize = 8;
/// Processor time that a turn stands for: a step that takes longer counts for several.
const TURN: Duration = Duration::from_micros(125);

/// Lets so many HTTP connections of one worker have a turn, then all others wait, first come first served, until the
/// worker's other tasks have run: hundreds that come, ask and go would otherwise all have one before a WebSocket has its
/// next. Whoever has begun to answer does not ask for a turn: it may hold credit for which others wait.
///
/// Its line is bounded by the connections: each stands in it at most once.
pub(crate) struct Gate {
    /// What is left of this cycle.
    left: Cell<usize>,
    line: RefCell<VecDeque<Weak<Place>>>,
    /// What a step of a handshake of TLS has cost of late: that of most is known only when it is done.
    handshake: Cell<Duration>,
    /// Whether a task refills it; there is one only while somebody waits.
    is_refilled: Cell<bool>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("waiting", &self.line.borrow().len()).finish_non_exhaustive()
    }
}

/// A connection's place in the line; dropped, it is left.
#[derive(Debug, Default)]
pub(crate) struct Place {
    stands: Cell<LineState>,
    /// Turns that its next one counts for, beyond the one.
    more: Cell<usize>,
    /// The moment since which it waits, or has waited for the turn at hand.
    since: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Place {
    /// Turns that its next one counts for.
    fn cost(&self) -> usize {
        1 + self.more.get()
    }

    /// How long it has waited for the turn that it was given, if it has; said once.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.since.take().map(|since| since.elapsed())
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LineState {
    #[default]
    Outside,
    InLine,
    /// The turn has come: the connection goes on when it is polled.
    InFront,
}

impl Gate {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(TURNS_A_CYCLE),
            line: RefCell::default(),
            handshake: Cell::new(TURN * TURNS_A_CYCLE as u32),
            is_refilled: Cell::new(false),
        })
    }

    /// The same for a step of a handshake of TLS, which counts for as many turns as such steps have taken of late: a signature
    /// takes the time of a few requests, or of many, as the key is.
    pub(crate) fn poll_handshake_turn(
        self: &Rc<Self>,
        place: &Rc<Place>,
        cx: &Context<'_>,
        spawn: impl FnOnce(Refill),
    ) -> Poll<()> {
        if place.stands.get() == LineState::Outside {
            let turns = (self.handshake.get().as_nanos() / TURN.as_nanos()) as usize;
            place.more.set(turns.clamp(1, TURNS_A_CYCLE) - 1);
        }
        let turn = self.poll_turn(place, cx, spawn);
        if turn.is_ready() {
            place.more.set(0);
        }
        turn
    }

    /// A step of a handshake took so long. The longest counts most, and is forgotten by and by.
    pub(crate) fn note_handshake(&self, took: Duration) {
        self.handshake.set(took.max(self.handshake.get() * 7 / 8));
    }

    /// Ready when the connection may have a turn, which is then taken; until then its task is woken when it may.
    /// `spawn` starts a task of the worker.
    pub(crate) fn poll_turn(
        self: &Rc<Self>,
        place: &Rc<Place>,
        cx: &Context<'_>,
        spawn: impl FnOnce(Refill),
    ) -> Poll<()> {
        match place.stands.get() {
            LineState::InFront => {
                place.stands.set(LineState::Outside);
                return Poll::Ready(());
            }
            LineState::InLine => {
                place.waker.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            LineState::Outside => {}
        }
        let left = self.left.get();
        let cost = place.cost();
        if left >= cost && self.line.borrow().is_empty() {
            self.left.set(left - cost);
            return Poll::Ready(());
        }
        place.stands.set(LineState::InLine);
        place.since.set(Some(Instant::now()));
        place.waker.replace(Some(cx.waker().clone()));
        self.line.borrow_mut().push_back(Rc::downgrade(place));
        if !self.is_refilled.replace(true) {
            spawn(Box::pin(Rc::clone(self).refill()));
        }
        Poll::Pending
    }

    async fn refill(self: Rc<Self>) {
        while !self.line.borrow().is_empty() {
            tokio::task::yield_now().await;
            let mut left = TURNS_A_CYCLE;
            let mut line = self.line.borrow_mut();
            while let Some(first) = line.front() {
                let place = first.upgrade();
                if place.as_ref().is_some_and(|place| place.cost() > left) {
                    break;
                }
                line.pop_front();
                // Whoever has gone meanwhile takes no turn with it.
                if let Some(place) = place {
                    left -= place.cost();
                    place.stands.set(LineState::InFront);
                    if let Some(waker) = place.waker.take() {
                        waker.wake();
                    }
                }
            }
            self.left.set(left);
            if line.is_empty() {
                // A crowd that stood here leaves nothing behind.
                line.shrink_to(64);
            }
        }
        self.is_refilled.set(false);
    }
}

/// What refills a gate; runs until nobody waits any more.
pub(crate) type Refill = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::LocalSet;

    use super::*;

    async fn turn(gate: &Rc<Gate>, place: &Rc<Place>) {
        poll_fn(|cx| gate.poll_turn(place, cx, |refill| drop(tokio::task::spawn_local(refill)))).await;
    }

    #[tokio::test]
    async fn whoever_waits_has_turns_in_order_a_few_a_cycle() {
        const COUNT: usize = 10 * TURNS_A_CYCLE;
        let (gate, begun) = (Gate::new(), Rc::new(RefCell::new(Vec::new())));
        let local = LocalSet::new();
        for nth in 0..COUNT {
            let (gate, begun) = (Rc::clone(&gate), Rc::clone(&begun));
            local.spawn_local(async move {
                turn(&gate, &Rc::default()).await;
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
        assert!(most_at_once.get() <= 2 * TURNS_A_CYCLE, "{} at once", most_at_once.get());
        assert!(!gate.is_refilled.get(), "nothing runs while nobody waits");
    }

    #[tokio::test]
    async fn one_that_wants_turn_after_turn_does_not_overtake_those_who_wait() {
        let gate = Gate::new();
        let taken = Rc::new(RefCell::new(Vec::new()));
        let local = LocalSet::new();
        for nth in 0..2 * TURNS_A_CYCLE {
            let (gate, taken, place) = (Rc::clone(&gate), Rc::clone(&taken), Rc::default());
            local.spawn_local(async move {
                for _ in 0..10 {
                    turn(&gate, &place).await;
                    taken.borrow_mut().push(nth);
                }
            });
        }
        local.await;
        // Those who came first had all of the first cycle; from then on everybody has as many as the others.
        let taken = &taken.borrow()[..10 * TURNS_A_CYCLE];
        let counts =
            (TURNS_A_CYCLE..2 * TURNS_A_CYCLE).map(|n| taken.iter().filter(|&&nth| nth == n).count());
        assert!(counts.min() >= Some(3), "{taken:?}");
    }

    #[tokio::test]
    async fn a_handshake_counts_for_as_many_turns_as_it_takes_time() {
        let (gate, begun) = (Gate::new(), Rc::new(Cell::new(0)));
        // As long as half of a cycle's turns.
        (0..100).for_each(|_| gate.note_handshake(TURN * (TURNS_A_CYCLE / 2) as u32));
        let local = LocalSet::new();
        for _ in 0..10 * TURNS_A_CYCLE {
            let (gate, begun) = (Rc::clone(&gate), Rc::clone(&begun));
            local.spawn_local(async move {
                let spawn = |refill| drop(tokio::task::spawn_local(refill));
                let place = Rc::default();
                poll_fn(|cx| gate.poll_handshake_turn(&place, cx, spawn)).await;
                begun.set(begun.get() + 1);
            });
        }
        let most_at_once = Rc::new(Cell::new(0));
        let (seen, most) = (Rc::clone(&begun), Rc::clone(&most_at_once));
        local.spawn_local(async move {
            let mut before = 0;
            while before < 10 * TURNS_A_CYCLE {
                tokio::task::yield_now().await;
                most.set(most.get().max(seen.get() - before));
                before = seen.get();
            }
        });
        local.await;
        assert!((1..=4).contains(&most_at_once.get()), "{} at once", most_at_once.get());
    }

    #[tokio::test]
    async fn who_gives_up_takes_nothing_with_it() {
        let gate = Gate::new();
        LocalSet::new()
            .run_until(async {
                for _ in 0..TURNS_A_CYCLE {
                    turn(&gate, &Rc::default()).await;
                }
                {
                    let place = Rc::default();
                    let mut gone = std::pin::pin!(turn(&gate, &place));
                    assert!(futures_util::poll!(gone.as_mut()).is_pending());
                }
                turn(&gate, &Rc::default()).await;
            })
            .await;
        assert!(gate.line.borrow().is_empty());
    }
}
