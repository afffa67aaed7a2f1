//! Writing to the socket, and catching up from the ring. [hot; life of a publication: steps 6 and 7]

use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::{CloseCode, Gap, Offset, OnLag, TopicRef};
use tokio::time::Instant;

use super::Connection;
use super::outbox::SLICES_MAX;
use super::progress::{BatchOutcome, PumpEnd};
use super::subscriptions::Subscription;
use crate::ids::ConnectionId;
use crate::topic::publication::Publication;
use crate::topic::ring::{Cursor, Missed, Seq};
use crate::topic::{Behind, Topic};
use crate::worker::group::Batch;
use crate::worker::runs::run_end;

/// Bytes that a connection reads from the ring before it writes them, so that catching up takes no more memory.
const CATCH_UP_BYTES: usize = 64 * 1024;
/// Bytes that wait in its outbox above which rounds queue no more: it catches up by itself.
const OUTBOX_BYTES: usize = 64 * 1024;
/// Bytes that are copied in about the time that a look at a publication takes: so turns count those left out.
const LOOK_BYTES: usize = 64;
/// Publications that it reads of one topic at a time, before the next topic has its turn; those that are written for
/// several too are bounded by bytes alone.
const CATCH_UP_COUNT: usize = 256;

impl Connection {
    /// Takes what there is in the batch for a subscription that wants what is `from` there on and not by the connection
    /// `not_by`. Returns how many publications that were too.
    ///
    /// The batch is written at once where nothing else can come to be written with it.
    pub(crate) fn take_batch(
        self: &Rc<Self>,
        batch: &Batch,
        from: Cursor,
        not_by: Option<ConnectionId>,
    ) -> (u64, BatchOutcome) {
        let mut state = self.state.borrow_mut();
        if state.outbox.len() >= OUTBOX_BYTES || (not_by.is_none() && state.replies.holds_back()) {
            // The reply to a publication of its own comes before that publication.
            return (0, BatchOutcome::Blocked { from });
        }
        let is_alone = state.outbox.is_empty() && state.subscriptions.len() == 1;
        if !is_alone && state.outbox.len() + batch.bytes.len() > OUTBOX_BYTES {
            // More than may wait: it reads from the topic by itself, a piece at a time.
            return (0, BatchOutcome::Blocked { from });
        }
        let mut last: Option<Range<usize>> = None;
        let count = batch.parts(from.next, not_by, |part| {
            if let Some(before) = last.replace(part) {
                state.outbox.push_shared(&batch.bytes, before.start, before.end);
            }
        });
        let Some(part) = last else { return (0, BatchOutcome::Nothing) };
        if !is_alone || !state.outbox.is_empty() {
            state.outbox.push_shared(&batch.bytes, part.start, part.end);
            return (count, BatchOutcome::Queued);
        }
        drop(state);
        let Some(written) = self.write_now(&batch.bytes[part.clone()]) else {
            return (count, BatchOutcome::Written);
        };
        if written == 0 {
            return (0, BatchOutcome::Blocked { from });
        }
        // Only the frame that was begun is kept: the ring has the others.
        let end = part.start + written;
        let (frame, from) = batch.frame_before(end);
        if end < frame.end {
            let written = end - frame.start;
            self.state.borrow_mut().outbox.push_begun(&batch.bytes[frame], written);
            self.report_queue();
        }
        (count - batch.parts(from.next, not_by, |_| {}), BatchOutcome::Blocked { from })
    }

    /// Writes to the socket; returns how much it took if it takes no more then.
    fn write_now(self: &Rc<Self>, bytes: &[u8]) -> Option<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.try_write(&bytes[written..]) {
                Ok(count) => {
                    written += count;
                    self.worker.stats.sent(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.block();
                    return Some(written);
                }
                Err(_) => {
                    self.lose();
                    return None;
                }
            }
        }
        (self.flush() == PumpEnd::Blocked).then_some(written)
    }

    /// Has the socket take what it was given before. While it does not it takes no more.
    fn flush(self: &Rc<Self>) -> PumpEnd {
        match self.stream.try_flush() {
            Ok(()) => return PumpEnd::Done,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.block();
                return PumpEnd::Blocked;
            }
            Err(_) => self.lose(),
        }
        PumpEnd::Done
    }

    /// Writes what waits, with as few calls as may be.
    pub(crate) fn write(self: &Rc<Self>) -> PumpEnd {
        if self.is_gone() {
            // Its life ended while a round had something for it.
            return PumpEnd::Done;
        }
        let end = self.write_all();
        self.report_queue();
        end
    }

    /// Tells the metrics by how much what waits has changed since they were told.
    pub(super) fn report_queue(&self) {
        // In 32 bits it is more than may ever wait.
        let queued = self.state.borrow().outbox.len() as u32;
        self.worker.stats.queued(i64::from(queued) - i64::from(self.reported_queue.replace(queued)));
    }

    fn write_all(self: &Rc<Self>) -> PumpEnd {
        loop {
            let mut state = self.state.borrow_mut();
            if state.outbox.is_empty() {
                drop(state);
                return self.flush();
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = state.outbox.slices(&mut slices);
            let written = match &slices[..filled] {
                [one] => self.stream.try_write(one),
                many => self.stream.try_write_vectored(many),
            };
            match written {
                Ok(count) => {
                    state.outbox.advance(count);
                    self.worker.stats.sent(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.block();
                    state.outbox.disown();
                    return PumpEnd::Blocked;
                }
                Err(_) => {
                    drop(state);
                    self.lose();
                    return PumpEnd::Done;
                }
            }
        }
    }

    /// Writes what waits, then what the subscriptions that are behind have yet to get.
    pub(super) fn pump(self: &Rc<Self>) -> PumpEnd {
        loop {
            if self.write() == PumpEnd::Blocked {
                return PumpEnd::Blocked;
            }
            let is_held_back = !self.catch_up();
            if self.write() == PumpEnd::Blocked {
                return PumpEnd::Blocked;
            }
            if self.is_gone() || is_held_back {
                return PumpEnd::Done;
            }
            // What was caught up with may all have been left out: then there is more to look at yet.
            if !self.is_catching_up() {
                self.written_out();
                if self.state.borrow().outbox.is_empty() {
                    return PumpEnd::Done;
                }
            }
            if self.worker.turns.count_frame() {
                return PumpEnd::Yield;
            }
        }
    }

    /// Whether it has yet to get what its topics have.
    fn is_catching_up(&self) -> bool {
        let state = self.state.borrow();
        state.subscriptions.behind() > 0 && state.life.is_delivering()
    }

    /// Reads from the ring for the subscriptions that are behind, up to a bound. Says whether it is to go on with that
    /// or with what follows: not where all that there is waits for replies.
    fn catch_up(self: &Rc<Self>) -> bool {
        let behind = {
            let state = self.state.borrow();
            if state.subscriptions.behind() == 0 {
                return true;
            }
            state.subscriptions.in_turn()
        };
        let (mut publications, mut has_moved) = (Vec::new(), false);
        for key in behind {
            if self.has_enough() {
                return true;
            }
            self.state.borrow_mut().subscriptions.serve(key);
            has_moved |= self.catch_up_with(key, &mut publications);
            if !self.state.borrow().life.is_delivering() {
                return true;
            }
        }
        has_moved
    }

    /// Reads from the ring for one subscription; one that has everything goes back in step. Says whether anything came of
    /// it: not where what comes next waits for a reply.
    fn catch_up_with(self: &Rc<Self>, key: usize, publications: &mut Vec<Arc<Publication>>) -> bool {
        let (topic, mut from, echo, on_lag, live_from) = {
            let state = self.state.borrow();
            let subscription = &state.subscriptions[key];
            let Some(from) = subscription.behind() else { return true };
            let Subscription { topic, echo, on_lag, live_from, .. } = subscription;
            (Arc::clone(topic), from, *echo, *on_lag, *live_from)
        };
        let (begin, shares) = (from.next, self.shares_runs(&topic, echo));
        loop {
            if shares {
                from = self.take_runs(&topic, from, echo, live_from);
                if from.next > begin && self.has_enough() {
                    break;
                }
            }
            // What follows may be for a run again.
            let count = if shares { run_end(from.next).since(from.next) as usize } else { CATCH_UP_COUNT };
            publications.clear();
            let head = match topic.read(from.next, count, CATCH_UP_BYTES, publications) {
                Ok(head) => head,
                Err(behind) => {
                    let Some(to) = self.skip(&topic, from, behind, on_lag, echo) else {
                        self.close_too_slow(&topic);
                        return true;
                    };
                    from = to;
                    break;
                }
            };
            if echo && self.hold_back(&topic, publications) {
                break;
            }
            let is_live = from.next >= live_from;
            let taken = self.queue(&topic, publications, echo, is_live);
            publications.truncate(taken);
            if let Some(last) = publications.last() {
                from = Cursor { next: from.next.plus(publications.len()), after: last.offset };
            }
            if from.next > head.seq {
                let is_to_wait = {
                    let state = self.state.borrow();
                    // What it has published itself may be yet to come.
                    state.life.is_draining() && !state.replies.is_empty()
                };
                if is_to_wait {
                    break;
                }
                self.caught_up(key, &topic, from);
                return true;
            }
            if !shares || self.has_enough() {
                break;
            }
        }
        self.state.borrow_mut().subscriptions.put_behind(key, from);
        from.next > begin
    }

    /// Whether as much waits to be written as may, or others should have their turn.
    fn has_enough(&self) -> bool {
        self.state.borrow().outbox.len() >= CATCH_UP_BYTES || self.worker.turns.is_over()
    }

    /// Whether it catches up with that topic as others do at the same time: not where publications of its own wait for their
    /// replies.
    fn shares_runs(&self, topic: &Arc<Topic>, echo: bool) -> bool {
        let is_held_back = echo && self.state.borrow().replies.said(topic.name.as_str()).is_some();
        !is_held_back && self.worker.runs.borrow().are_welcome() && self.worker.are_several_behind(topic)
    }

    /// Queues what is written for several, from there on and until enough waits; says where it stands then.
    fn take_runs(&self, topic: &Arc<Topic>, mut from: Cursor, echo: bool, live_from: Seq) -> Cursor {
        let mut runs = self.worker.runs.borrow_mut();
        while !self.has_enough() {
            let Some(run) = runs.get(topic, self.encoding, from) else { break };
            let mut state = self.state.borrow_mut();
            let before = state.outbox.len();
            let count = if echo {
                let mut all = 0..0;
                let count = run.parts(from.next, None, |part| all = part);
                state.outbox.push_shared(&run.bytes, all.start, all.end);
                count
            } else {
                // Cut into pieces where its own are left out: many small ones would be many writes.
                run.parts(from.next, Some(self.id), |part| {
                    state.outbox.push_with(|out| out.extend_from_slice(&run.bytes[part]));
                })
            };
            let looked_at = run.end().next.since(from.next) as usize;
            let oldest = run.oldest().filter(|_| from.next == run.begin().next && from.next >= live_from);
            self.note_queued(topic, looked_at, count, state.outbox.len() - before, oldest);
            from = run.end();
        }
        from
    }

    /// Notes what was queued to catch up, of so many publications that were looked at; `oldest` is when the first that is
    /// news was received.
    fn note_queued(
        &self,
        topic: &Topic,
        looked_at: usize,
        count: u64,
        bytes: usize,
        oldest: Option<Instant>,
    ) {
        // What is left out was looked at all the same.
        self.worker.turns.count_bytes(looked_at * LOOK_BYTES + bytes);
        self.worker.stats.delivered(topic.namespace.index, self.encoding, count);
        if let Some(oldest) = oldest.filter(|_| count > 0) {
            self.worker.metrics.fanout(oldest.elapsed());
        }
    }

    /// Leaves out publications of its own whose replies are yet to be said, and what follows them: `published` comes
    /// before its message. Says whether that is all of it.
    fn hold_back(&self, topic: &Topic, publications: &mut Vec<Arc<Publication>>) -> bool {
        let state = self.state.borrow();
        let Some(said) = state.replies.said(topic.name.as_str()) else { return false };
        self.worker.turns.count_bytes(publications.len() * LOOK_BYTES);
        let said = said.filter(|said| said.epoch == topic.position().epoch);
        let is_unsaid = |p: &Publication| said.is_none_or(|said| p.offset > said.offset);
        let held = publications.iter().position(|p| p.content.origin == Some(self.id) && is_unsaid(p));
        publications.truncate(held.unwrap_or(publications.len()));
        held == Some(0)
    }

    /// Queues the publications that it wants, and counts them as delivered, until enough waits: their frames may be many
    /// times as large as their payloads. Says how many it has taken or left out, at least one.
    fn queue(&self, topic: &Topic, publications: &[Arc<Publication>], echo: bool, is_live: bool) -> usize {
        let mut state = self.state.borrow_mut();
        let mut replay = self.worker.replay.borrow_mut();
        let before = state.outbox.len();
        let (mut looked_at, mut count) = (0, 0);
        for publication in publications {
            if state.outbox.len() >= CATCH_UP_BYTES {
                break;
            }
            looked_at += 1;
            if echo || publication.content.origin != Some(self.id) {
                state.outbox.push_with(|out| replay.put_frame(publication, &topic.name, self.encoding, out));
                count += 1;
            }
        }
        let bytes = state.outbox.len() - before;
        let oldest = publications.first().filter(|_| is_live);
        let oldest = oldest.map(|oldest| Instant::from_std(oldest.content.received.instant()));
        self.note_queued(topic, looked_at, count, bytes, oldest);
        looked_at
    }

    /// Puts a subscription back in step that has everything; of a connection that drains it ends then.
    fn caught_up(self: &Rc<Self>, key: usize, topic: &Arc<Topic>, from: Cursor) {
        self.worker.count_behind(self, topic, false);
        if self.state.borrow().life.is_draining() {
            self.state.borrow_mut().subscriptions.remove(key);
            self.worker.remove_subscription(topic);
        } else {
            self.worker.join(self, key, from);
        }
    }

    /// Skips what the ring has lost, as the subscription's policy says, and says so. Returns where to go
    /// on, or `None` when the connection is to be closed.
    fn skip(&self, topic: &Topic, from: Cursor, behind: Behind, on_lag: OnLag, echo: bool) -> Option<Cursor> {
        let Behind { lagged, epoch } = behind;
        let (to, action) = match on_lag {
            OnLag::Disconnect => return None,
            OnLag::Gap => (lagged.oldest, "gap"),
            OnLag::Latest => (lagged.newest, "latest"),
        };
        let missed = to.next.since(from.next);
        self.worker.metrics.slow_consumer(topic.namespace.index, action, missed);
        // Its own may be among them, which it would not have got; they cannot be looked at any more.
        let is_exact = lagged.missed == Missed::Counted && (echo || !self.has_published.get());
        let first = if lagged.missed == Missed::Anew { Offset::ZERO } else { from.after };
        let missed = is_exact.then_some(missed);
        let topic = TopicRef::from(&topic.name);
        let gap = Gap { topic, epoch, from: first.next(), to: to.after, missed };
        self.state.borrow_mut().outbox.push_with(|out| self.dialect.gap(gap, out));
        Some(to)
    }

    /// The topic of a subscription whose policy is to be closed, and that has lost something it can no longer
    /// get.
    pub(super) fn lost_topic(&self) -> Option<Arc<Topic>> {
        let state = self.state.borrow();
        let has_lost = |subscription: &Subscription| {
            let disconnects = subscription.on_lag == OnLag::Disconnect;
            let from = subscription.behind().filter(|_| disconnects);
            from.is_some_and(|from| subscription.topic.read(from.next, 0, 0, &mut Vec::new()).is_err())
        };
        let mut subscriptions = state.subscriptions.iter().map(|(_, subscription)| subscription);
        subscriptions.find(|subscription| has_lost(subscription)).map(|s| Arc::clone(&s.topic))
    }

    /// Closes it because it has lost something and wants to be closed then, not told.
    pub(super) fn close_too_slow(&self, topic: &Topic) {
        self.worker.metrics.slow_consumer(topic.namespace.index, "disconnected", 0);
        self.close(CloseCode::TOO_SLOW, "the reader fell behind what the topic keeps");
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::Payload;

    use super::*;
    use crate::bench::publications;
    use crate::encoding::Encoding;
    use crate::worker::tests::{connect, publish, subscribe, worker};

    #[tokio::test]
    async fn what_waits_while_it_catches_up_is_bounded_by_its_frames_and_not_by_their_payloads() {
        let worker = worker();
        let (topic, _) = subscribe(&worker, "t");
        let (_peer, _life) = connect(&worker, Encoding::Json).await;
        let connection = worker.all_connections().remove(0);
        // Each character is written as six.
        let payload = Payload::text("\u{1}".repeat(1000));
        let taken = connection.queue(&topic, &publications(CATCH_UP_COUNT, &payload), true, false);
        let queued = connection.queued_bytes();
        assert!((1..CATCH_UP_COUNT).contains(&taken), "{taken} in {queued} bytes");
        assert!((CATCH_UP_BYTES..CATCH_UP_BYTES + 7 * 1000).contains(&queued), "{taken} in {queued} bytes");
    }

    #[tokio::test]
    async fn several_who_catch_up_share_what_is_written_and_one_alone_writes_for_itself() {
        let worker = worker();
        let (topic, first) = subscribe(&worker, "t");
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(connect(&worker, Encoding::Json).await);
        }
        (0..8).for_each(|_| publish(&worker, &topic));
        let connections = worker.all_connections();
        worker.count_awaited(&topic, true);
        assert!(!connections[0].shares_runs(&topic, true), "it is alone");
        worker.count_awaited(&topic, true);
        let all = Cursor { next: topic.head().seq.next(), after: topic.head().position.offset };
        for connection in &connections {
            worker.turns.begin(false);
            assert!(connection.shares_runs(&topic, true));
            assert_eq!(connection.take_runs(&topic, first, true, first.next), all);
        }
        let mut runs = worker.runs.borrow_mut();
        let run = runs.get(&topic, Encoding::Json, first).expect("a run");
        assert_eq!(Rc::strong_count(&run.bytes), 1 + connections.len());
        worker.count_awaited(&topic, false);
        worker.count_awaited(&topic, false);
    }
}
