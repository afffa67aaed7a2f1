//! Publishers that send as fast as the broker acknowledges: by WebSocket, by HTTP, by the client crate.

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod websocket;

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::load::tally::{Troubles, histogram};
use crate::load::worker::Worker;
use crate::machine::clock::now_ns;
use crate::wire::payload::Stamp;

/// What became of publications; those of several publishers add up.
#[derive(Debug)]
pub(crate) struct Acks {
    /// The time from sending to the acknowledgement, in nanoseconds, of those that were acknowledged while it
    /// was measured.
    pub(crate) measured: Histogram<u64>,
    /// Publications that were refused, those of warm-up too.
    pub(crate) refused: u64,
    /// Publications that were neither acknowledged nor refused, those of warm-up too.
    pub(crate) unacknowledged: u64,
    pub(crate) troubles: Troubles,
}

impl Acks {
    pub(crate) fn new() -> Self {
        Self { measured: histogram(), refused: 0, unacknowledged: 0, troubles: Troubles::default() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.measured.add(&other.measured).expect("all histograms have the same bounds");
        self.refused += other.refused;
        self.unacknowledged += other.unacknowledged;
        self.troubles.add(&other.troubles);
    }
}

/// What one publisher has under way: at most its window, answered in the order in which it was sent.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    worker: &'a Worker,
    publisher: u32,
    window: usize,
    /// How many topics take turns.
    topics: u32,
    /// How many were sent.
    sent: u64,
    /// When those were sent that wait for an answer, oldest first.
    under_way: VecDeque<u64>,
    payload: Vec<u8>,
    acks: Acks,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(worker: &'a Worker, publisher: u32, window: u32, topics: u32) -> Self {
        Self {
            worker,
            publisher,
            window: window as usize,
            topics,
            sent: 0,
            under_way: VecDeque::new(),
            payload: Vec::new(),
            acks: Acks::new(),
        }
    }

    /// Whether another one may be sent now.
    pub(crate) fn has_capacity(&self) -> bool {
        self.under_way.len() < self.window && !self.worker.is_over()
    }

    /// Whether it is time to end and all is answered.
    pub(crate) fn is_done(&self) -> bool {
        self.under_way.is_empty() && self.worker.is_over()
    }

    /// How many were answered.
    fn answered(&self) -> u64 {
        self.sent - self.under_way.len() as u64
    }

    /// The next publication, which counts as sent now: its topic, and its payload.
    pub(crate) fn next(&mut self) -> (u32, &[u8]) {
        let plan = &self.worker.plan;
        // Publishers and topics take turns; a connection that has one topic alone stays with it.
        let turn = match plan.target.one_topic_per_connection() {
            true => 0,
            false => self.sent * u64::from(plan.publishers),
        };
        let topic = ((turn + u64::from(self.publisher)) % u64::from(self.topics)) as u32;
        let now = now_ns();
        let (publisher, sequence) = (self.publisher, self.sent as u32);
        self.payload.clear();
        Stamp { measured: true, publisher, topic, sequence, due_ns: now }.write(plan.size, &mut self.payload);
        self.under_way.push_back(now);
        self.sent += 1;
        (topic, &self.payload)
    }

    /// Counts all up to number `n`, counted from 1, as acknowledged.
    pub(crate) fn acknowledged_to(&mut self, n: u64, now: u64) {
        let counts = self.worker.counts();
        while self.answered() < n
            && let Some(sent) = self.under_way.pop_front()
        {
            if counts {
                self.acks.measured.saturating_record(now.saturating_sub(sent));
                self.worker.done.add(1);
            }
        }
    }

    /// The oldest one that is under way is acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        self.acknowledged_to(self.answered() + 1, now_ns());
    }

    /// The oldest one that is under way is refused.
    pub(crate) fn refused(&mut self, why: &str) {
        if self.under_way.pop_front().is_some() {
            self.acks.refused += 1;
            self.acks.troubles.count(&format!("publisher {why}"));
        }
    }

    /// Ends the flow, whatever is under way still, and gives what came of it.
    pub(crate) fn end(mut self, result: anyhow::Result<()>) -> Acks {
        if let Err(e) = result {
            self.acks.troubles.count(&format!("publisher {e:#}"));
        }
        self.acks.unacknowledged += self.under_way.len() as u64;
        self.acks
    }
}
