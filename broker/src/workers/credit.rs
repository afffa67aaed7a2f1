//! Who may publish how much between two rounds of a worker.
//!
//! A worker delivers what its own connections publish on the same thread, so publishing and delivering must take
//! turns: between two rounds it takes in so many publications and no more. Whoever wants to publish beyond that
//! waits in line, and after each round those in front get a share each (deficit round robin): who has used up its
//! share lines up again, behind all who got theirs earlier. Whoever publishes now and then does not stand in that line: a few
//! small publications of somebody who neither waits nor has a share are let past it, so many in each round, or they would wait
//! for all who publish without a pause. WebSockets, native and raw, and HTTP requests draw from the same credit, and nothing but
//! a publication is ever asked for it.

mod passing;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use passing::{PASSING, Passing};

/// What may be published between two rounds.
const ROUND: Allowance = Allowance { count: 256, bytes: 512 * 1024 };
/// What one publisher gets of it at least, once it is its turn; more where few wait.
const SHARE: Allowance = Allowance { count: 32, bytes: 64 * 1024 };
/// So much of what a large publication took beyond its share is paid back with the next ones.
const DEBT_MAX: i64 = 4 * SHARE.bytes;
/// Rounds after which a share goes back that is neither used up nor given back: whoever has one may stand in another
/// line first.
const UNUSED_ROUNDS: u64 = 256;

/// Whoever publishes: a connection or a request, by a number that no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lane(pub(crate) u64);

/// How much a lane is known to want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// One publication, and it leaves: its share is just that.
    One,
    /// Perhaps more.
    Many,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    count: i64,
    bytes: i64,
}

impl Allowance {
    const NONE: Self = Self { count: 0, bytes: 0 };

    fn is_left(self) -> bool {
        self.count > 0 && self.bytes > 0
    }

    fn take(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes as i64;
    }
}

/// A share that is being used.
#[derive(Debug)]
struct Share {
    lane: Lane,
    left: Allowance,
    /// Bytes of the next publication that are paid for.
    prepaid: i64,
    ticket: u64,
    /// The round after which it was given.
    round: u64,
}

impl Share {
    fn take(&mut self, bytes: usize) {
        let prepaid = self.prepaid.min(bytes as i64);
        self.prepaid -= prepaid;
        self.left.take(bytes - prepaid as usize);
    }
}

#[derive(Debug)]
struct Waiting {
    waker: Waker,
    /// Its place in the line.
    ticket: u64,
    /// Bytes that it still owes of what it has had beyond its last share: it gets nothing before they are paid back,
    /// turn by turn.
    debt: i64,
    /// Bytes that it has yet to pay for its next publication, likewise: what is beyond a share of it.
    price: i64,
    prepaid: i64,
    wants: Wants,
}

#[derive(Debug)]
struct State {
    /// What is left for whoever comes, while nobody waits.
    left: Allowance,
    passing: Passing,
    shares: Vec<Share>,
    waiting: HashMap<Lane, Waiting>,
    /// The line, by tickets: whoever got a share earlier than another is in front of it. Invariant: exactly those
    /// in `waiting` stand in it.
    line: BTreeMap<u64, Lane>,
    next_ticket: u64,
    round: u64,
}

impl State {
    fn new_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Gives those in front of the line a share each, as long as there is something left.
    fn hand_out(&mut self) {
        let waiting = self.line.len().max(1) as i64;
        let share = Allowance {
            count: SHARE.count.max(self.left.count / waiting),
            bytes: SHARE.bytes.max(self.left.bytes / waiting),
        };
        for _ in 0..self.line.len() {
            if !self.left.is_left() {
                break;
            }
            let Some((_, lane)) = self.line.pop_first() else { break };
            let Some(mut waiting) = self.waiting.remove(&lane) else { continue };
            let back = waiting.debt.min(share.bytes);
            waiting.debt -= back;
            // What is paid back was delivered already; what is paid beforehand is taken from this round.
            let ahead = waiting.price.min(share.bytes - back);
            waiting.price -= ahead;
            waiting.prepaid += ahead;
            self.left.bytes -= ahead;
            let rest = share.bytes - back - ahead;
            let ticket = self.new_ticket();
            if waiting.debt > 0 || waiting.price > 0 || (waiting.wants == Wants::Many && rest == 0) {
                waiting.ticket = ticket;
                self.line.insert(ticket, lane);
                self.waiting.insert(lane, waiting);
                continue;
            }
            let left = match waiting.wants {
                // It is paid for: it only has to be taken.
                Wants::One => Allowance { count: 1, bytes: 1 },
                Wants::Many => Allowance { bytes: rest, ..share },
            };
            self.left.count -= left.count;
            self.left.bytes -= left.bytes;
            self.shares.push(Share { lane, left, prepaid: waiting.prepaid, ticket, round: self.round });
            waiting.waker.wake();
        }
    }
}

/// A worker's credit. Only its own thread asks, so the lock is never waited for; it lets requests be asked from
/// where they are handled, which must be able to move between threads.
#[derive(Debug)]
pub(crate) struct Credit(Mutex<State>);

impl Default for Credit {
    fn default() -> Self {
        Self::new(PASSING)
    }
}

impl Credit {
    /// Credit of which so much passes the line in a round.
    fn new(passing: u32) -> Self {
        Self(Mutex::new(State {
            left: ROUND,
            passing: Passing::new(passing),
            shares: Vec::new(),
            waiting: HashMap::new(),
            line: BTreeMap::new(),
            next_ticket: 0,
            round: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a publication of so many bytes from the credit. Where there is none the lane stands in line, and is
    /// woken when it is its turn: the worker needs a [round](Self::refill) for that.
    pub(crate) fn poll_take(&self, lane: Lane, bytes: usize, wants: Wants, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        let (mut debt, mut ticket) = (0, None);
        if let Some(nth) = state.shares.iter().position(|share| share.lane == lane) {
            if state.shares[nth].left.is_left() {
                state.shares[nth].take(bytes);
                return Poll::Ready(());
            }
            let used_up = state.shares.swap_remove(nth);
            debt = (-used_up.left.bytes).clamp(0, DEBT_MAX);
            ticket = Some(used_up.ticket);
        } else if let Some(waiting) = state.waiting.get_mut(&lane) {
            waiting.waker.clone_from(waker);
            return Poll::Pending;
        }
        if state.waiting.is_empty() && state.left.is_left() {
            state.left.take(bytes);
            return Poll::Ready(());
        }
        if ticket.is_none() && !state.waiting.is_empty() && state.passing.takes(lane, bytes, wants) {
            return Poll::Ready(());
        }
        let ticket = ticket.unwrap_or_else(|| state.new_ticket());
        // Whoever leaves after it would pay nothing back.
        let within_share = if wants == Wants::One { 0 } else { SHARE.bytes };
        let price = (bytes as i64 - within_share).max(0);
        state.waiting.insert(lane, Waiting { waker: waker.clone(), ticket, debt, price, prepaid: 0, wants });
        state.line.insert(ticket, lane);
        Poll::Pending
    }

    /// The lane publishes no more for now: what is left of its share is for those who wait.
    pub(crate) fn leave(&self, lane: Lane) {
        let mut state = self.lock();
        let mut rest = Allowance { count: 0, bytes: 0 };
        if let Some(waiting) = state.waiting.remove(&lane) {
            state.line.remove(&waiting.ticket);
            rest.bytes = waiting.prepaid;
        }
        if let Some(nth) = state.shares.iter().position(|share| share.lane == lane) {
            let Share { left, prepaid, .. } = state.shares.swap_remove(nth);
            if left.is_left() {
                rest = Allowance { bytes: left.bytes + prepaid, ..left };
            }
        }
        if rest.bytes > 0 {
            // Of what was paid in rounds that are over nothing can be given back.
            state.left.count += rest.count;
            state.left.bytes = (state.left.bytes + rest.bytes).min(ROUND.bytes);
            state.hand_out();
        }
    }

    /// A round is over: gives out new credit, those in front of the line first.
    pub(crate) fn refill(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        state.round += 1;
        let round = state.round;
        state.shares.retain(|share| share.left.is_left() && round - share.round < UNUSED_ROUNDS);
        let passed = state.passing.refill(round);
        state.left = Allowance { count: ROUND.count + passed.count, bytes: ROUND.bytes + passed.bytes };
        for share in &state.shares {
            state.left.count -= share.left.count;
            state.left.bytes -= share.left.bytes;
        }
        state.hand_out();
        if state.waiting.is_empty() && state.waiting.capacity() > 64 {
            // A crowd that stood here leaves nothing behind.
            state.waiting = HashMap::new();
        }
    }

    /// Whether somebody waits for the next round.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(credit: &Credit, lane: u64, bytes: usize) -> bool {
        credit.poll_take(Lane(lane), bytes, Wants::Many, Waker::noop()).is_ready()
    }

    /// How many publications of that size each lane gets in so many rounds, when all want more without end.
    fn published(sizes: &[usize], rounds: usize) -> Vec<u64> {
        let credit = Credit::default();
        let mut counts = vec![0; sizes.len()];
        for _ in 0..rounds {
            for (lane, &size) in sizes.iter().enumerate() {
                while takes(&credit, lane as u64, size) {
                    counts[lane] += 1;
                }
            }
            credit.refill();
        }
        counts
    }

    #[test]
    fn one_publisher_alone_has_all_of_it_and_no_more() {
        let credit = Credit::default();
        let taken = (0..10_000).take_while(|_| takes(&credit, 1, 100)).count();
        assert_eq!(taken as i64, ROUND.count);
        assert!(credit.is_awaited());
        credit.refill();
        assert!(takes(&credit, 1, 100));
    }

    #[test]
    fn publishers_of_small_ones_share_alike_however_many_there_are() {
        for lanes in [2, 3, 7, 8, 9, 50] {
            let counts = published(&vec![100; lanes], 1000);
            let (least, most) = (counts.iter().min().expect("some"), counts.iter().max().expect("some"));
            assert!(*least > 0 && most * 10 <= least * 13, "{lanes}: {counts:?}");
        }
    }

    #[test]
    fn publishers_of_large_ones_share_bytes_alike() {
        let counts = published(&[60_000, 1_000_000, 60_000], 10_000);
        let bytes = [counts[0] * 60_000, counts[1] * 1_000_000, counts[2] * 60_000];
        assert!(bytes[1] > 0 && bytes[0] > bytes[1] / 5 && bytes[0] < bytes[1] * 5, "{bytes:?}");
    }

    #[test]
    fn large_ones_that_come_each_by_themselves_have_no_more_bytes_than_others() {
        for (size, wants) in
            [(250_000, Wants::One), (1_000_000, Wants::One), (250_000, Wants::Many), (1_000_000, Wants::Many)]
        {
            let credit = Credit::default();
            let (mut singles, mut next, mut bytes) = ([100, 101, 102], 103, [0u64; 3]);
            for _ in 0..10_000 {
                for lane in [0, 1] {
                    while takes(&credit, lane, 60_000) {
                        bytes[lane as usize] += 60_000;
                    }
                }
                // Three who publish one, and come again as somebody else.
                for single in &mut singles {
                    while credit.poll_take(Lane(*single), size, wants, Waker::noop()).is_ready() {
                        bytes[2] += size as u64 / 3;
                        credit.leave(Lane(*single));
                        (*single, next) = (next, next + 1);
                    }
                }
                credit.refill();
            }
            let busy = u64::min(bytes[0], bytes[1]);
            assert!(bytes[2] > busy / 3 && bytes[2] < busy * 3 / 2, "{size}, {wants:?}: {bytes:?}");
        }
    }

    #[test]
    fn who_comes_later_does_not_overtake_those_who_wait() {
        let credit = Credit::new(0);
        while takes(&credit, 1, 1) {}
        assert!(!takes(&credit, 2, 1));
        credit.refill();
        assert!(takes(&credit, 1, 1) && takes(&credit, 2, 1));
        while takes(&credit, 1, 1) {}
        credit.refill();
        assert!(!credit.is_awaited(), "both have shares again");
    }

    #[test]
    fn as_many_who_want_one_publication_each_get_it_as_a_round_has_publications() {
        let credit = Credit::new(0);
        while takes(&credit, 0, 1) {}
        credit.leave(Lane(0));
        let takes_one = |lane| credit.poll_take(Lane(lane), 100, Wants::One, Waker::noop()).is_ready();
        let mut waiting: Vec<_> = (1..=2 * ROUND.count as u64).collect();
        assert!(waiting.iter().all(|lane| !takes_one(*lane)));
        for _ in 0..2 {
            credit.refill();
            let before = waiting.len();
            waiting.retain(|lane| {
                let has_taken = takes_one(*lane);
                if has_taken {
                    credit.leave(Lane(*lane));
                }
                !has_taken
            });
            assert_eq!((before - waiting.len()) as i64, ROUND.count);
        }
        assert!(!credit.is_awaited());
    }

    #[test]
    fn what_one_who_leaves_has_left_is_for_those_who_wait_at_once() {
        let credit = Credit::new(0);
        while takes(&credit, 0, 1) {}
        let lanes = 1..=100;
        assert!(lanes.clone().all(|lane| !takes(&credit, lane, 100)));
        credit.leave(Lane(0));
        credit.refill();
        for lane in lanes {
            assert!(takes(&credit, lane, 100), "{lane}");
            credit.leave(Lane(lane));
        }
        assert!(!credit.is_awaited());
    }

    #[test]
    fn what_is_left_of_the_share_of_one_who_leaves_is_for_others() {
        let credit = Credit::default();
        while takes(&credit, 1, 100) {}
        credit.refill();
        assert!(takes(&credit, 1, 100));
        credit.leave(Lane(1));
        let taken = (0..10_000).take_while(|_| takes(&credit, 2, 100)).count();
        assert_eq!(taken as i64, ROUND.count - 1);
    }

    #[test]
    fn who_leaves_holds_nothing_up() {
        let credit = Credit::new(0);
        while takes(&credit, 1, 1) {}
        assert!(!takes(&credit, 2, 1));
        credit.leave(Lane(1));
        credit.leave(Lane(2));
        assert!(!credit.is_awaited());
        credit.refill();
        let taken = (0..10_000).take_while(|_| takes(&credit, 3, 1)).count();
        assert_eq!(taken as i64, ROUND.count);
    }

    #[test]
    fn a_share_that_is_not_used_goes_back() {
        let credit = Credit::default();
        while takes(&credit, 1, 1) {}
        for _ in 0..=UNUSED_ROUNDS {
            credit.refill();
        }
        let taken = (0..10_000).take_while(|_| takes(&credit, 2, 1)).count();
        assert_eq!(taken as i64, ROUND.count);
    }
}
