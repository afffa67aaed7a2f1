//! Rounds: what is new in the topics, written to their subscribers. [hot; life of a publication: steps 4 to 7]
//!
//! A round walks over the subscribers of each dirty topic. What is published while it is under way joins
//! it at once, for those who have not had their turn; the others get it in the next round. So a publication
//! reaches everybody within the time of one walk, however fast it follows the one before.
//!
//! After a long walk at whose end something new waits its topic rests for a moment, in which publications gather: walks
//! that follow each other without a pause take the processor from those who read, and each has less to write. A publication that comes after
//! silence finds no rest, and no other topic waits for it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::group::{Batch, LocalTopic};
use super::{Worker, key};
use crate::connection::Connection;
use crate::connection::progress::{BatchOutcome, PumpEnd};
use crate::encoding::Encoding;
use crate::topic::Topic;
use crate::topic::publication::Publication;
use crate::topic::ring::Seq;

/// Most publications that one round delivers of one topic; more come in the next one.
const ROUND_COUNT_MAX: usize = 256;
/// A round stops taking publications of a topic once their payloads reach this.
const ROUND_BYTES_MAX: usize = 256 * 1024;
/// Writes after which a round lets reads, accepts and pings have their turn.
const WRITES_PER_TURN: usize = 64;
/// Bytes after which it does, though the writes were few.
const BYTES_PER_TURN: usize = 1024 * 1024;
/// Subscribers looked at after which it does, though little was written.
const VISITS_PER_TURN: usize = 1024;
/// Connections that a round may have touched before it writes.
const TOUCHED_MAX: usize = 4096;
/// Bytes of batches that a round may have queued before it writes: what waits in outboxes keeps them.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// A walk shorter than this is followed by no rest.
const LONG_WALK: Duration = Duration::from_micros(500);
/// Who waits for credit does so no longer than this for topics that rest.
const REFILL_MAX: Duration = Duration::from_millis(10);

/// How long a topic rests after a walk of that length: half of it, but no longer than its namespace says.
fn rest_after(walk: Duration, gather_max: Duration) -> Option<Duration> {
    (walk >= LONG_WALK && !gather_max.is_zero()).then(|| (walk / 2).min(gather_max))
}

/// What a round has under way.
#[derive(Debug)]
struct Round {
    /// Topics to be served.
    dirty: Vec<Arc<Topic>>,
    /// Dirty topics that rest, until when.
    resting: Vec<(Instant, Arc<Topic>)>,
    /// Topics whose batches wait in outboxes and hold all that there was.
    queued: Vec<Arc<Topic>>,
    /// When the oldest publication was received that waits so.
    oldest_queued: Option<Instant>,
    /// Bytes of the batches that touched connections hold.
    queued_bytes: usize,
    /// Connections with something queued that is yet to be written.
    touched: VecDeque<Rc<Connection>>,
    /// When credit was last given out.
    refilled: Instant,
    /// Writes since others had their turn.
    writes: usize,
    /// Bytes of these writes, about.
    written_bytes: usize,
    /// Subscribers looked at since then.
    visits: usize,
    /// Somebody of the topic at hand was moved to a place that the walk had passed.
    has_missed: bool,
    /// When they last had it.
    turn_began: Instant,
    /// Publications on their way from the ring into a batch.
    publications: Vec<Arc<Publication>>,
}

impl Round {
    fn new() -> Self {
        Self {
            dirty: Vec::new(),
            resting: Vec::new(),
            queued: Vec::new(),
            oldest_queued: None,
            queued_bytes: 0,
            touched: VecDeque::new(),
            refilled: Instant::now(),
            writes: 0,
            written_bytes: 0,
            visits: 0,
            has_missed: false,
            turn_began: Instant::now(),
            publications: Vec::new(),
        }
    }

    fn is_turn_over(&self) -> bool {
        self.writes >= WRITES_PER_TURN
            || self.visits >= VISITS_PER_TURN
            || self.written_bytes >= BYTES_PER_TURN
    }

    fn is_full(&self) -> bool {
        self.touched.len() >= TOUCHED_MAX || self.queued_bytes >= QUEUED_BYTES_MAX
    }
}

impl Worker {
    /// Delivers dirty topics, for ever.
    pub(super) async fn rounds(self: Rc<Self>) {
        let mut round = Round::new();
        loop {
            let woken = self.handle().mailbox.news();
            match round.resting.iter().map(|(until, _)| *until).min() {
                Some(until) => drop(tokio::time::timeout_at(until, woken).await),
                None => woken.await,
            }
            loop {
                self.gather(&mut round);
                if !round.dirty.is_empty() {
                    self.deliver(&mut round).await;
                }
                if !self.refill(&mut round) {
                    break;
                }
                self.yield_turn(&mut round).await;
            }
            // Rounds that write nothing await nothing: others have their turn all the same.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Gives out new credit, and says whether some wait for yet more. While a topic rests its publishers rest too,
    /// or they would outrun its walks; but two that rest in turns do not make the others wait for long.
    fn refill(&self, round: &mut Round) -> bool {
        if !round.resting.is_empty() && round.refilled.elapsed() < REFILL_MAX {
            return false;
        }
        round.refilled = Instant::now();
        self.handle().refill_credit();
        self.handle().awaits_credit()
    }

    /// Takes the topics that are dirty and do not rest, or no longer.
    fn gather(&self, round: &mut Round) {
        self.handle().mailbox.take(&mut round.dirty);
        let now = Instant::now();
        let topics = self.topics.borrow();
        let resting = &mut round.resting;
        let rested: Vec<_> = resting.extract_if(.., |(until, _)| *until <= now).collect();
        round.dirty.retain(|topic| {
            let until = topics.get(&key(topic)).and_then(|local| local.not_before).filter(|at| *at > now);
            if let Some(until) = until {
                resting.push((until, Arc::clone(topic)));
            }
            until.is_none()
        });
        round.dirty.extend(rested.into_iter().map(|(_, topic)| topic));
    }

    /// One round.
    async fn deliver(&self, round: &mut Round) {
        round.turn_began = Instant::now();
        let mut dirty = std::mem::take(&mut round.dirty);
        for topic in dirty.drain(..) {
            self.serve(&topic, round).await;
        }
        // Its capacity is used again.
        round.dirty = dirty;
        self.write_touched(round).await;
        self.stats.round(round.turn_began.elapsed());
    }

    /// Walks over the topic's subscribers in step.
    async fn serve(&self, topic: &Arc<Topic>, round: &mut Round) {
        let began = Instant::now();
        let (batches, read_to, has_more) = self.begin(topic, round);
        let (mut has_queued, mut delivered) = (false, 0);
        for (encoding, batch) in Encoding::ALL.into_iter().zip(batches) {
            let Some(mut batch) = batch else { continue };
            let mut slot = 0;
            let before = delivered;
            while self.offer(topic, encoding, &batch, &mut slot, &mut delivered, round) {
                self.count_queued(&batch, round, &mut has_queued);
                if round.is_full() {
                    self.write_touched(round).await;
                } else {
                    self.yield_turn(round).await;
                }
                self.extend(topic, &mut batch, round);
            }
            self.count_queued(&batch, round, &mut has_queued);
            if delivered > before
                && let Some(oldest) = batch.oldest()
            {
                if has_queued {
                    round.oldest_queued = Some(round.oldest_queued.map_or(oldest, |at| at.min(oldest)));
                } else {
                    self.metrics.fanout(oldest.elapsed());
                }
            }
        }
        self.note_delivered(topic, delivered);
        // Only now: who fell behind on the way is counted as such, and what it wants is kept for that.
        if !std::mem::take(&mut round.has_missed) {
            topic.has_read(self.index, read_to);
        }
        // What the walk itself has left gains nothing by waiting.
        if !has_more {
            self.rest(topic, began.elapsed());
            if has_queued {
                round.queued.push(Arc::clone(topic));
            }
        }
        if round.is_turn_over() {
            self.yield_turn(round).await;
        }
    }

    /// Has the topic rest after a walk of that length, if the next would follow without a pause.
    fn rest(&self, topic: &Arc<Topic>, walk: Duration) {
        if let Some(local) = self.topics.borrow_mut().get_mut(&key(topic)) {
            let gather_max = topic.retention().gather_max;
            let rest = rest_after(walk, gather_max).filter(|_| topic.is_dirty(self.index));
            local.not_before = rest.map(|rest| Instant::now() + rest);
        }
    }

    fn count_queued(&self, batch: &Batch, round: &mut Round, has_queued: &mut bool) {
        if Rc::strong_count(&batch.bytes) > 1 {
            round.queued_bytes += batch.bytes.len();
            *has_queued = true;
        }
    }

    /// Reads what is new in the topic, for each encoding that has subscribers in step; also says up to which
    /// index all of them will have been served, and whether there is more.
    fn begin(
        &self,
        topic: &Arc<Topic>,
        round: &mut Round,
    ) -> ([Option<Batch>; Encoding::ALL.len()], Seq, bool) {
        topic.take_note(self.index);
        let (mut read_to, mut has_more) = (None, false);
        let mut read = |to: Seq| read_to = Some(read_to.map_or(to, |before: Seq| before.min(to)));
        let mut topics = self.topics.borrow_mut();
        let Some(local) = topics.get_mut(&key(topic)) else {
            return (Default::default(), topic.head().seq, false);
        };
        let batches = Encoding::ALL.map(|encoding| {
            loop {
                let first = local.groups[encoding as usize].first_wanted()?;
                let publications = &mut round.publications;
                match topic.read(first.next, ROUND_COUNT_MAX, ROUND_BYTES_MAX, publications) {
                    Ok(head) if publications.is_empty() => {
                        read(head.seq);
                        return None;
                    }
                    Ok(head) => {
                        let mut batch = Batch::new(encoding, first);
                        batch.extend(&topic.name, publications);
                        let last = Seq::new(batch.end().next.get() - 1);
                        has_more |= last < head.seq;
                        read(last);
                        return Some(batch);
                    }
                    // The ring has moved past some: each finds out for itself what it missed.
                    Err(behind) => self.lose_before(local, encoding, behind.lagged.oldest.next),
                }
            }
        });
        if has_more {
            topic.mark_dirty(self.index, &self.handle().mailbox);
        }
        (batches, read_to.unwrap_or_else(|| topic.head().seq), has_more)
    }

    /// Takes into the batch what was published meanwhile. The topic stays dirty: those who have had their
    /// turn get it in the next round.
    fn extend(&self, topic: &Topic, batch: &mut Batch, round: &mut Round) {
        let (count, bytes) = batch.size();
        if topic.is_dirty(self.index) && count < ROUND_COUNT_MAX && bytes < ROUND_BYTES_MAX {
            let publications = &mut round.publications;
            let next = batch.end().next;
            // What the ring has lost already is the next round's matter.
            if topic.read(next, ROUND_COUNT_MAX - count, ROUND_BYTES_MAX - bytes, publications).is_ok() {
                batch.extend(&topic.name, publications);
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
        delivered: &mut u64,
        round: &mut Round,
    ) -> bool {
        let mut topics = self.topics.borrow_mut();
        // Its last subscriber may have left while others had their turn.
        let Some(local) = topics.get_mut(&key(topic)) else { return false };
        let end = batch.end();
        let before = *delivered;
        while let Some(member) = local.groups[encoding as usize].members.get_mut(*slot) {
            if round.is_turn_over() || round.is_full() {
                break;
            }
            round.visits += 1;
            let connection = &member.connection;
            if connection.is_blocked() {
                self.fall_behind(local, encoding, *slot);
                continue;
            }
            let not_by = (!member.echo).then_some(connection.id);
            let (count, taken) = connection.take_batch(batch, member.from, not_by);
            *delivered += count;
            match taken {
                BatchOutcome::Blocked { from } => {
                    member.from = from;
                    let member = self.fall_behind(local, encoding, *slot);
                    // Its own task waits for the socket and catches up.
                    member.connection.wake();
                    round.writes += 1;
                    continue;
                }
                BatchOutcome::Nothing => {}
                BatchOutcome::Queued => {
                    if !connection.touched.replace(true) {
                        round.touched.push_back(Rc::clone(connection));
                    }
                }
                BatchOutcome::Written => {
                    round.writes += 1;
                    round.written_bytes += batch.bytes.len();
                }
            }
            if member.from.next < end.next {
                member.from = end;
            }
            *slot += 1;
        }
        let group = &local.groups[encoding as usize];
        let is_over = *slot >= group.members.len();
        if is_over && group.first_wanted().is_some_and(|first| first.next < end.next) {
            // Somebody was moved to a place that the walk had passed.
            round.has_missed = true;
            topic.mark_dirty(self.index, &self.handle().mailbox);
        }
        self.stats.delivered(topic.namespace.index, encoding, *delivered - before);
        !is_over
    }

    /// Writes every touched connection once.
    async fn write_touched(&self, round: &mut Round) {
        let began = Instant::now();
        round.queued_bytes = 0;
        while let Some(connection) = round.touched.pop_front() {
            connection.touched.set(false);
            connection.move_on();
            if connection.write() == PumpEnd::Blocked {
                connection.wake();
            }
            round.writes += 1;
            if round.is_turn_over() {
                self.yield_turn(round).await;
            }
        }
        if let Some(oldest) = round.oldest_queued.take() {
            self.metrics.fanout(oldest.elapsed());
        }
        let took = began.elapsed();
        for topic in std::mem::take(&mut round.queued) {
            if took >= LONG_WALK {
                self.rest(&topic, took);
            }
        }
    }

    /// Lets everybody else who has something to do on this worker have a turn.
    async fn yield_turn(&self, round: &mut Round) {
        (round.writes, round.written_bytes, round.visits) = (0, 0, 0);
        self.stats.round(round.turn_began.elapsed());
        tokio::task::yield_now().await;
        round.turn_began = Instant::now();
    }

    /// Takes out of step who wants what the ring no longer has.
    fn lose_before(&self, local: &mut LocalTopic, encoding: Encoding, oldest: Seq) {
        for slot in (0..local.groups[encoding as usize].members.len()).rev() {
            if local.groups[encoding as usize].members[slot].from.next < oldest {
                self.fall_behind(local, encoding, slot).connection.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::group::Member;
    use crate::worker::tests::{connect, publish, subscribe, worker};

    #[test]
    fn only_long_walks_are_followed_by_a_rest_shorter_than_themselves() {
        let gather_max = Duration::from_millis(5);
        let after = |us| rest_after(Duration::from_micros(us), gather_max).map(|rest| rest.as_micros());
        assert_eq!(after(0), None);
        assert_eq!(after(499), None);
        assert_eq!(after(500), Some(250));
        assert_eq!(after(4_000), Some(2_000));
        assert_eq!(after(1_000_000), Some(5_000));
        assert_eq!(rest_after(Duration::from_secs(1), Duration::ZERO), None, "a namespace may want none");
    }

    #[test]
    fn a_topic_rests_only_where_something_new_waits_and_no_other_topic_rests_with_it() {
        let worker = worker();
        let (busy, quiet) = (subscribe(&worker, "busy").0, subscribe(&worker, "quiet").0);
        let not_before = |topic| worker.topics.borrow()[&key(topic)].not_before;
        publish(&worker, &busy);
        for topic in [&busy, &quiet] {
            worker.rest(topic, 100 * LONG_WALK);
        }
        assert!(not_before(&busy).is_some());
        assert!(not_before(&quiet).is_none(), "what is published after silence finds no rest");

        let hour = Duration::from_secs(3600);
        let until = Instant::now() + hour;
        worker.topics.borrow_mut().get_mut(&key(&busy)).expect("it is there").not_before = Some(until);
        publish(&worker, &quiet);
        let mut round = Round::new();
        worker.gather(&mut round);
        assert!(matches!(&round.dirty[..], [topic] if Arc::ptr_eq(topic, &quiet)), "{:?}", round.dirty);
        assert!(matches!(&round.resting[..], [(at, topic)] if *at == until && Arc::ptr_eq(topic, &busy)));

        round.dirty.clear();
        round.resting[0].0 = Instant::now();
        worker.gather(&mut round);
        assert!(matches!(&round.dirty[..], [topic] if Arc::ptr_eq(topic, &busy)), "its rest is over");
        assert!(round.resting.is_empty());
    }

    #[tokio::test]
    async fn a_walk_over_many_whose_deliveries_are_queued_yields() {
        const TURNS: usize = 3;
        const MEMBERS: usize = TURNS * VISITS_PER_TURN - 1;
        let worker = worker();
        let (topic, from) = subscribe(&worker, "t");
        // With none or several subscriptions of its own what it gets is queued.
        let (_peer, _life) = connect(&worker, Encoding::Raw).await;
        let connection = worker.all_connections().remove(0);
        {
            let mut topics = worker.topics.borrow_mut();
            let group =
                &mut topics.get_mut(&key(&topic)).expect("it is there").groups[Encoding::Raw as usize];
            let member = |_| Member::new(&connection, 0, from, true);
            group.members.extend((0..MEMBERS).map(member));
        }
        publish(&worker, &topic);
        let mut round = Round::new();
        let mut walk = std::pin::pin!(worker.serve(&topic, &mut round));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut turns = 1;
        while walk.as_mut().poll(&mut cx).is_pending() {
            turns += 1;
        }
        assert_eq!(turns, TURNS);
        let frame = 3;
        assert_eq!(connection.queued_bytes(), frame * MEMBERS, "all of it waits to be written");
    }
}
