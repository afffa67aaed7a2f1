//! What the subscribers of one thread share.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::load::plan::Plan;
use crate::load::tally::Tally;
use crate::machine::thread::Counter;
use crate::wire::socket::{Buffer, ConnectionEnd};

/// How many connections a thread opens at the same time: fewer than any sane listen backlog.
const OPENING_MAX: usize = 32;
/// How many connections a thread opens where all come back at once: a crowd, though not more than a backlog
/// takes.
const RETURNING_MAX: usize = 1024;

/// What the subscribers of one thread are told, and tell.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) plan: Arc<Plan>,
    /// Which of the plan's threads this is.
    pub(crate) thread: u32,
    /// How many are subscribed.
    pub(crate) subscribed: Counter,
    /// How many deliveries have been counted.
    pub(crate) delivered: Counter,
    /// 1 once something has come that should not have, or not so.
    pub(crate) suspicious: Counter,
    /// The longest latency so far, in nanoseconds.
    pub(crate) slowest_ns: Counter,
    /// When the schedule started, on the clock of [`now_ns`](crate::machine::clock::now_ns): set before
    /// `Phase::Running`.
    pub(crate) start_ns: Counter,
    /// How many of the stuck ones have woken up and read what there was.
    pub(crate) woken: Counter,
    /// When all were cut off, on the clock of [`now_ns`](crate::machine::clock::now_ns): set before
    /// `Phase::Cut`.
    pub(crate) cut_ns: Counter,
}

/// What they share beyond what they are told.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) group: Group,
    pub(super) buffer: Buffer,
    /// A permit for each that subscribes.
    pub(super) opening: Semaphore,
    /// A permit for each that comes back.
    pub(super) returning: Semaphore,
    pub(super) tally: RefCell<Tally>,
}

impl Shared {
    pub(super) fn new(group: Group) -> Self {
        Self {
            group,
            buffer: Buffer::new(),
            opening: Semaphore::new(OPENING_MAX),
            returning: Semaphore::new(RETURNING_MAX),
            tally: RefCell::new(Tally::new()),
        }
    }

    /// Says how far this thread's subscribers are.
    pub(super) fn tell(&self) {
        let (group, tally) = (&self.group, self.tally.borrow());
        group.delivered.set(tally.delivered);
        group.suspicious.set(tally.is_suspicious().into());
        group.slowest_ns.set(tally.latency.max());
    }

    /// Notes that a subscriber did not stay connected.
    pub(super) fn disconnected(&self, ended: &ConnectionEnd) {
        let mut tally = self.tally.borrow_mut();
        tally.disconnected += 1;
        tally.troubles.count(&format!("subscriber {ended}"));
    }
}
