//! Writing to the socket, and catching up from the ring. [hot; life of a publication: steps 6 and 7]

use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::{CloseCode, Epoch, Gap, Offset, OnLag, ServerFrame, TopicRef};

use super::outbox::SLICES_MAX;
use super::subscription::{Place, Subscription};
use super::{Connection, ConnectionId, Phase, UNREAD_REPLIES_MAX};
use crate::topic::Topic;
use crate::topic::publication::Publication;
use crate::topic::ring::Lagged;
use crate::worker::group::Batch;

/// Bytes that a connection reads from the ring before it writes them.
const CATCH_UP_BYTES: usize = 64 * 1024;
/// While so many bytes wait in its outbox, rounds queue no more: it catches up by itself.
const OUTBOX_BYTES: usize = 64 * 1024;
/// Publications that it reads of one topic at a time.
const CATCH_UP_COUNT: usize = 256;
/// Times that a connection catches up before others have their turn.
const PUMPS_PER_TURN: usize = 2;

/// How writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PumpEnd {
    /// The socket takes no more for now.
    Blocked,
    /// Nothing is left to write.
    Done,
    /// Something is left, but others should have their turn.
    Yield,
}

/// What became of a batch that a connection was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The socket takes no more for now, or enough waits for it; `next` is the first offset that it has not
    /// begun to get.
    Blocked { next: Offset },
    /// There was nothing in it for this one.
    Nothing,
    /// It waits in the outbox.
    Queued,
    /// It is on its way.
    Written,
}

impl Connection {
    /// Takes what there is in the batch for a subscription that wants what is `from` that offset on and
    /// not by the connection `not_by`. Returns how many publications that were too.
    ///
    /// It is written at once where nothing else can come to be written with it.
    pub(crate) fn take_batch(
        &self,
        batch: &Batch,
        from: Offset,
        not_by: Option<ConnectionId>,
    ) -> (u64, Taken) {
        let mut state = self.state.borrow_mut();
        if state.outbox.len() >= OUTBOX_BYTES {
            return (0, Taken::Blocked { next: from });
        }
        let mut last: Option<Range<usize>> = None;
        let count = batch.parts(from, not_by, |part| {
            if let Some(before) = last.replace(part) {
                state.outbox.push_shared(&batch.bytes, before.start, before.end);
            }
        });
        let Some(part) = last else { return (0, Taken::Nothing) };
        if !state.outbox.is_empty() || state.subscriptions.len() > 1 {
            state.outbox.push_shared(&batch.bytes, part.start, part.end);
            return (count, Taken::Queued);
        }
        drop(state);
        let Some(written) = self.write_now(&batch.bytes[part.clone()]) else {
            return (count, Taken::Written);
        };
        if written == 0 {
            return (0, Taken::Blocked { next: from });
        }
        // Only the frame that was begun is kept: the ring has the others.
        let end = part.start + written;
        let (frame, next) = batch.frame_before(end);
        if end < frame.end {
            let written = end - frame.start;
            self.state.borrow_mut().outbox.push_begun(&batch.bytes[frame], written);
            self.report_queue();
        }
        (count - batch.parts(next, not_by, |_| {}), Taken::Blocked { next })
    }

    /// Writes to the socket; returns how much that was if the socket does not take it all.
    fn write_now(&self, bytes: &[u8]) -> Option<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.try_write(&bytes[written..]) {
                Ok(count) => {
                    written += count;
                    self.worker.stats.sent(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked.set(true);
                    return Some(written);
                }
                Err(_) => {
                    self.lose();
                    return None;
                }
            }
        }
        None
    }

    /// Writes what waits, with as few calls as may be.
    pub(crate) fn write(&self) -> PumpEnd {
        if self.state.borrow().phase == Phase::Gone {
            // Its life ended while a round had something for it.
            return PumpEnd::Done;
        }
        let end = self.write_all();
        self.report_queue();
        end
    }

    fn report_queue(&self) {
        let queued = self.state.borrow().outbox.len() as i64;
        self.worker.stats.queued(queued - self.reported_queue.replace(queued));
    }

    fn write_all(&self) -> PumpEnd {
        loop {
            let mut state = self.state.borrow_mut();
            if state.outbox.is_empty() {
                return PumpEnd::Done;
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = state.outbox.slices(&mut slices);
            let written = match &slices[..filled] {
                [one] => self.stream.try_write(one),
                many => self.stream.try_write_vectored(many),
            };
            match written {
                Ok(count) => {
                    if state.outbox.len() > UNREAD_REPLIES_MAX {
                        // It is not being listened to, but it reads: it lives.
                        state.heard_at = self.worker.now_ms();
                    }
                    state.outbox.advance(count);
                    self.worker.stats.sent(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked.set(true);
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
        for _ in 0..PUMPS_PER_TURN {
            if self.write() == PumpEnd::Blocked {
                return PumpEnd::Blocked;
            }
            self.catch_up();
            // What was caught up with may all have been left out: then there is more to look at yet.
            if self.state.borrow().outbox.is_empty() && !self.is_catching_up() {
                self.written_out();
                if self.state.borrow().outbox.is_empty() {
                    return PumpEnd::Done;
                }
            }
        }
        PumpEnd::Yield
    }

    /// Whether it has yet to get what its topics have.
    fn is_catching_up(&self) -> bool {
        let state = self.state.borrow();
        state.behind > 0 && matches!(state.phase, Phase::Open | Phase::Draining { .. })
    }

    /// Reads from the ring for the subscriptions that are behind, up to a bound.
    fn catch_up(self: &Rc<Self>) {
        if self.state.borrow().behind == 0 {
            return;
        }
        let (behind, served): (Vec<usize>, usize) = {
            let state = self.state.borrow();
            let is_behind = |place| matches!(place, Place::Behind { .. });
            let behind = state.subscriptions.iter().filter(|(_, s)| is_behind(s.place));
            (behind.map(|(key, _)| key).collect(), state.served)
        };
        // They take turns, or a busy topic would keep the others from ever being read.
        let first = behind.partition_point(|&key| key <= served);
        let mut publications = Vec::new();
        for &key in behind[first..].iter().chain(&behind[..first]) {
            if self.state.borrow().outbox.len() >= CATCH_UP_BYTES {
                return;
            }
            self.state.borrow_mut().served = key;
            self.catch_up_with(key, &mut publications);
            if !self.is_listening() {
                return;
            }
        }
    }

    /// Reads from the ring for one subscription; one that has everything goes back in step.
    fn catch_up_with(self: &Rc<Self>, key: usize, publications: &mut Vec<Arc<Publication>>) {
        let (topic, next, echo, on_lag) = {
            let state = self.state.borrow();
            let subscription = &state.subscriptions[key];
            let Place::Behind { next } = subscription.place else { return };
            (Arc::clone(&subscription.topic), next, subscription.echo, subscription.on_lag)
        };
        publications.clear();
        let next = match topic.read(next, CATCH_UP_COUNT, CATCH_UP_BYTES, publications) {
            Err(lagged) => match self.skip(&topic, next, lagged, on_lag) {
                Some(next) => next,
                None => return self.close_too_slow(&topic),
            },
            Ok(head) => {
                self.queue(&topic, publications, echo);
                let next = publications.last().map_or(next, |last| last.offset.next());
                if next > head.offset {
                    return self.caught_up(key, &topic, next);
                }
                next
            }
        };
        self.state.borrow_mut().subscriptions[key].place = Place::Behind { next };
    }

    fn queue(&self, topic: &Topic, publications: &[Arc<Publication>], echo: bool) {
        let mut state = self.state.borrow_mut();
        let wanted = publications.iter().filter(|p| echo || p.content.origin != Some(self.id));
        let mut count = 0;
        for publication in wanted {
            state.outbox.push_with(|out| out.extend_from_slice(publication.frame(self.encoding)));
            count += 1;
        }
        self.worker.stats.delivered(topic.namespace.index, self.encoding, count);
    }

    fn caught_up(self: &Rc<Self>, key: usize, topic: &Arc<Topic>, next: Offset) {
        self.state.borrow_mut().behind -= 1;
        if matches!(self.state.borrow().phase, Phase::Draining { .. }) {
            self.state.borrow_mut().subscriptions.remove(key);
            self.worker.remove_subscription(topic);
        } else {
            self.worker.join(self, key, next);
        }
    }

    /// Skips what the ring has lost, as the subscription's policy says, and says so. Returns where to go
    /// on, or `None` when the connection is to be closed.
    fn skip(&self, topic: &Topic, next: Offset, lagged: Lagged, on_lag: OnLag) -> Option<Offset> {
        let head = topic.position();
        let (to_next, action) = match on_lag {
            OnLag::Disconnect => return None,
            OnLag::Gap => (lagged.oldest, "gap"),
            OnLag::Latest => (lagged.oldest.max(head.offset), "latest"),
        };
        let missed = to_next.get() - next.get();
        self.worker.hub.metrics.slow_consumer(topic.namespace.index, action, missed);
        self.say_gap(topic, head.epoch, next, to_next, missed);
        Some(to_next)
    }

    /// A raw connection cannot be told; it is closed instead unless it asked for the newest alone.
    fn say_gap(&self, topic: &Topic, epoch: Epoch, from: Offset, next: Offset, missed: u64) {
        if let Some(codec) = self.encoding.codec() {
            self.send(
                codec,
                &ServerFrame::Gap(Gap {
                    topic: TopicRef::from(&topic.name),
                    epoch,
                    from,
                    to: Offset::new(next.get() - 1),
                    missed: Some(missed),
                }),
            );
        }
    }

    /// The topic of a subscription whose policy is to be closed, and that has lost something it can no longer
    /// get.
    pub(super) fn lost_topic(&self) -> Option<Arc<Topic>> {
        let state = self.state.borrow();
        let has_lost = |subscription: &Subscription| match subscription.place {
            Place::Behind { next } if subscription.on_lag == OnLag::Disconnect => {
                subscription.topic.read(next, 0, 0, &mut Vec::new()).is_err()
            }
            _ => false,
        };
        let mut subscriptions = state.subscriptions.iter().map(|(_, subscription)| subscription);
        subscriptions.find(|subscription| has_lost(subscription)).map(|s| Arc::clone(&s.topic))
    }

    pub(super) fn close_too_slow(&self, topic: &Topic) {
        self.worker.hub.metrics.slow_consumer(topic.namespace.index, "disconnected", 0);
        self.close(CloseCode::TOO_SLOW, "the reader fell behind what the topic keeps");
    }
}
