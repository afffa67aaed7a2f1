//! Rounds: what is new in the topics, written to their subscribers. [hot; life of a publication: steps 4 to 7]
//!
//! A round walks over the subscribers of each dirty topic. What is published while it is under way joins
//! it at once, for those who have not had their turn; the others get it in the next round. So a publication
//! reaches everybody within the time of one walk, however fast it follows the one before.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::Offset;
use tokio::time::Instant;

use super::group::{Batch, Group};
use super::{Worker, key};
use crate::connection::{Connection, PumpEnd, Taken};
use crate::topic::Topic;
use crate::topic::publication::{Encoding, Publication};

/// Most publications that one round delivers of one topic; more come in the next one.
const ROUND_COUNT_MAX: usize = 256;
/// A round stops taking publications of a topic once their payloads reach this.
const ROUND_BYTES_MAX: usize = 256 * 1024;
/// Writes after which a round lets reads, accepts and pings have their turn.
const WRITES_PER_TURN: usize = 64;
/// Connections that a round may have touched before it writes.
const TOUCHED_MAX: usize = 4096;
/// Bytes of batches that a round may have queued before it writes: what waits in outboxes keeps them.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// What a round has under way.
#[derive(Debug)]
struct Round {
    started: Instant,
    /// When the oldest of its publications was received.
    oldest: Instant,
    /// Writes since others had their turn.
    writes: usize,
    /// Bytes of the batches that touched connections hold.
    queued_bytes: usize,
    /// Connections with something queued that is yet to be written.
    touched: VecDeque<Rc<Connection>>,
    /// Publications on their way from the ring into a batch.
    publications: Vec<Arc<Publication>>,
}

impl Worker {
    /// Delivers dirty topics, for ever.
    pub(super) async fn rounds(self: Rc<Self>) {
        let mut dirty = Vec::new();
        let now = Instant::now();
        let mut round = Round {
            started: now,
            oldest: now,
            writes: 0,
            queued_bytes: 0,
            touched: VecDeque::new(),
            publications: Vec::new(),
        };
        loop {
            self.handle().woken().await;
            loop {
                self.handle().take_dirty(&mut dirty);
                self.taken.set((0, 0));
                if dirty.is_empty() {
                    self.release();
                    break;
                }
                round.started = Instant::now();
                round.oldest = round.started;
                for topic in dirty.drain(..) {
                    self.serve(&topic, &mut round).await;
                    if round.touched.len() >= TOUCHED_MAX || round.queued_bytes >= QUEUED_BYTES_MAX {
                        self.write_touched(&mut round).await;
                    }
                }
                self.write_touched(&mut round).await;
                self.hub.metrics.fanout.observe(round.oldest.elapsed().as_secs_f64());
                self.stats.round(round.started.elapsed());
                self.release();
            }
        }
    }

    /// Walks over the topic's subscribers in step.
    async fn serve(&self, topic: &Arc<Topic>, round: &mut Round) {
        let batches = self.begin(topic, round);
        for (encoding, batch) in Encoding::ALL.into_iter().zip(batches) {
            let Some(mut batch) = batch else { continue };
            round.oldest = batch.oldest().map_or(round.oldest, |oldest| oldest.min(round.oldest));
            let mut slot = 0;
            while self.offer(topic, encoding, &batch, &mut slot, round) {
                self.give_way(round).await;
                self.extend(topic, &mut batch, round);
            }
            if Rc::strong_count(&batch.bytes) > 1 {
                round.queued_bytes += batch.bytes.len();
            }
            if round.writes >= WRITES_PER_TURN {
                self.give_way(round).await;
            }
        }
    }

    /// Reads what is new in the topic, for each encoding that has subscribers in step.
    fn begin(&self, topic: &Arc<Topic>, round: &mut Round) -> [Option<Batch>; Encoding::ALL.len()] {
        topic.begin_reading(self.index);
        let mut topics = self.topics.borrow_mut();
        let mut has_more = false;
        let batches = match topics.get_mut(&key(topic)) {
            None => Default::default(),
            Some(local) => Encoding::ALL.map(|encoding| {
                let group = &mut local.groups[encoding as usize];
                let mut batch = Batch::new(encoding);
                loop {
                    let first = group.first_wanted()?;
                    let publications = &mut round.publications;
                    match topic.read(first, ROUND_COUNT_MAX, ROUND_BYTES_MAX, publications) {
                        Ok(head) => {
                            batch.extend(publications);
                            has_more |= batch.next()? <= head.offset;
                            return Some(batch);
                        }
                        // The ring has moved past some: each finds out for itself what it missed.
                        Err(lagged) => group.lose_before(lagged.oldest),
                    }
                }
            }),
        };
        if has_more {
            topic.mark_dirty(self.index, self.handle());
        }
        topic.end_reading(self.index);
        batches
    }

    /// Takes into the batch what was published meanwhile. The topic stays dirty: those who have had their
    /// turn get it in the next round.
    fn extend(&self, topic: &Topic, batch: &mut Batch, round: &mut Round) {
        let (count, bytes) = batch.size();
        let Some(next) = batch.next() else { return };
        if topic.is_dirty(self.index) && count < ROUND_COUNT_MAX && bytes < ROUND_BYTES_MAX {
            let publications = &mut round.publications;
            // What the ring has lost already is the next round's matter.
            if topic.read(next, ROUND_COUNT_MAX - count, ROUND_BYTES_MAX - bytes, publications).is_ok() {
                batch.extend(publications);
            }
        }
    }

    /// Hands the batch to the group's members from `slot` on, until others should have their turn: then
    /// returns true, and `slot` is where to go on.
    fn offer(
        &self,
        topic: &Arc<Topic>,
        encoding: Encoding,
        batch: &Batch,
        slot: &mut usize,
        round: &mut Round,
    ) -> bool {
        let mut topics = self.topics.borrow_mut();
        // Its last subscriber may have left while others had their turn.
        let Some(local) = topics.get_mut(&key(topic)) else { return false };
        let group = &mut local.groups[encoding as usize];
        let Some(next) = batch.next() else { return false };
        let mut delivered = 0;
        while let Some(member) = group.members.get_mut(*slot) {
            if round.writes >= WRITES_PER_TURN {
                break;
            }
            let connection = &member.connection;
            if connection.is_blocked() {
                group.fall_behind(*slot);
                continue;
            }
            let not_by = (!member.echo).then_some(connection.id);
            let (count, taken) = connection.take_batch(batch, member.from, not_by);
            delivered += count;
            match taken {
                Taken::Blocked { next } => {
                    member.from = next;
                    let member = group.fall_behind(*slot);
                    // Its own task waits for the socket and catches up.
                    member.connection.wake();
                    round.writes += 1;
                    continue;
                }
                Taken::Nothing => {}
                Taken::Queued => {
                    if !connection.touched.replace(true) {
                        round.touched.push_back(Rc::clone(connection));
                    }
                }
                Taken::Written => round.writes += 1,
            }
            member.from = member.from.max(next);
            *slot += 1;
        }
        let is_over = *slot >= group.members.len();
        if is_over && group.first_wanted().is_some_and(|first| first < next) {
            // Somebody was moved to a place that the walk had passed.
            topic.mark_dirty(self.index, self.handle());
        }
        self.stats.delivered(topic.namespace.index, encoding, delivered);
        !is_over
    }

    /// Writes every touched connection once.
    async fn write_touched(&self, round: &mut Round) {
        round.queued_bytes = 0;
        while let Some(connection) = round.touched.pop_front() {
            connection.touched.set(false);
            if connection.write() == PumpEnd::Blocked {
                connection.wake();
            }
            round.writes += 1;
            if round.writes >= WRITES_PER_TURN {
                self.give_way(round).await;
            }
        }
    }

    async fn give_way(&self, round: &mut Round) {
        round.writes = 0;
        tokio::task::yield_now().await;
    }
}

impl Group {
    /// Takes out of step who wants what the ring no longer has.
    fn lose_before(&mut self, oldest: Offset) {
        for slot in (0..self.members.len()).rev() {
            if self.members[slot].from < oldest {
                self.fall_behind(slot).connection.wake();
            }
        }
    }
}
