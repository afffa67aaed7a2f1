//! The door into a topic. [hot; life of a publication: step 2]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fanfare_protocol::{Offset, Position};

use super::duplicates::{Duplicates, IdHash};
use super::publication::{Publication, Unpositioned};
use super::ring::Seq;
use super::{Accepted, Retired, State, Topic};
use crate::clock::{Uptime, unix_ms};

/// The place where a publication is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the next position, chosen under the topic's lock; a message id that was seen is told by the position that it
    /// has already.
    Next,
    /// Where an engine has put it that gives positions elsewhere, one after the other in their order. An epoch that was left
    /// must not come again: what is of it would begin it anew. Message ids are that engine's matter.
    Given {
        /// The position; offsets may have holes.
        position: Position,
        /// When, in milliseconds since 1970.
        time: u64,
        /// What came before it is lost, and nobody knows how much: that leaves out offsets.
        lost: bool,
    },
}

impl Topic {
    /// Appends a publication, in one step under the topic's lock: the door for all engines. What is there already is left
    /// as it is. After a loss of unknown size, or where the epoch is a new one, subscribers are told that something is
    /// missing. Waits for nobody; the subscribers are yet to be woken.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again; the publication is given back.
    pub fn append_at(&self, at: At, content: Unpositioned) -> Result<Accepted, (Retired, Box<Unpositioned>)> {
        let (now, time, id) = match at {
            // For a request it is when it was whole, a moment ago: that spares the hot path a look at the clock.
            At::Next => {
                let id = content.message_id.as_deref().map(IdHash::of);
                (content.received.uptime(), unix_ms(), id)
            }
            // It may have been received long ago.
            At::Given { time, .. } => (Uptime::now(), time, None),
        };
        // Made before the lock is taken, and what leaves the ring is freed after it is released.
        let mut publication = Arc::new(Publication::new(Offset::ZERO, time, content, &self.budget));
        let (position, evicted, broken_off);
        {
            let mut state = self.lock();
            if state.is_retired {
                drop(state);
                return Err((Retired, given_back(publication)));
            }
            (position, broken_off) = match at {
                At::Next => match state.next(id, now, self) {
                    Ok(position) => (position, Vec::new()),
                    Err(known) => return Ok(Accepted { position: known, is_duplicate: true }),
                },
                At::Given { position, lost, .. } => match state.make_room_at(position, lost, self) {
                    Some(broken_off) => (position, broken_off),
                    None => return Ok(Accepted { position, is_duplicate: true }),
                },
            };
            Arc::get_mut(&mut publication).expect("nobody else has seen it").offset = position.offset;
            evicted = state.append(publication, now, self);
            self.note_kept(&mut state);
        }
        drop((evicted, broken_off));
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        Ok(Accepted { position, is_duplicate: false })
    }

    /// Follows what an engine gives positions to elsewhere, from this one on, which must not be of an epoch that was left. Who
    /// subscribed before is told that something may be missing.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again.
    pub fn follow(&self, from: Position) -> Result<(), Retired> {
        let mut state = self.lock();
        if state.is_retired {
            return Err(Retired);
        }
        let here = state.head().position;
        // What was appended meanwhile is not taken back.
        let is_here = here.epoch == from.epoch && from.offset <= here.offset;
        let evicted = if is_here { Vec::new() } else { state.begin_anew(from, self) };
        state.is_following = true;
        self.note_kept(&mut state);
        drop(state);
        drop(evicted);
        Ok(())
    }

    /// Whether it [follows](Self::follow).
    pub fn is_following(&self) -> bool {
        self.lock().is_following
    }
}

impl State {
    /// The next position, which is noted under the message `id`.
    ///
    /// # Errors
    /// Where the publication stands that has that id.
    fn next(&mut self, id: Option<IdHash>, now: Uptime, topic: &Topic) -> Result<Position, Position> {
        let next = Position { epoch: self.epoch, offset: self.ring.head_offset().next() };
        let Some(id) = id else { return Ok(next) };
        let keep = topic.retention().message_ids();
        self.duplicates.expire(now, keep);
        if let Some(offset) = self.duplicates.find(id, now, keep) {
            self.recharge(topic);
            return Err(Position { offset, ..next });
        }
        topic.namespace.note_ids_evicted(self.duplicates.insert(id, next.offset, now, keep));
        Ok(next)
    }

    /// Sees to it that what comes next may stand there: what is kept goes where what comes does not follow it. `None`
    /// where it is here already, or one after it.
    fn make_room_at(
        &mut self,
        position: Position,
        lost: bool,
        topic: &Topic,
    ) -> Option<Vec<Arc<Publication>>> {
        let is_anew = position.epoch != self.epoch;
        if !is_anew && position.offset <= self.ring.head_offset() {
            return None;
        }
        let is_lost = lost && position.offset > self.ring.head_offset().next();
        let after = Position { offset: before(position.offset), ..position };
        Some(if is_anew || is_lost { self.begin_anew(after, topic) } else { Vec::new() })
    }

    /// Something is lost of which nobody knows how much: what comes next follows that position.
    fn begin_anew(&mut self, after: Position, topic: &Topic) -> Vec<Arc<Publication>> {
        let is_anew = after.epoch != self.epoch;
        if self.ring.head() == Seq::ZERO && topic.subscriptions() == 0 {
            // Nobody has missed anything: who subscribes is counted under the same lock.
            self.epoch = after.epoch;
            self.ring.begin_after(after.offset);
            return Vec::new();
        }
        if is_anew {
            self.epoch = after.epoch;
            self.duplicates = Duplicates::default();
        }
        self.ring.break_off(after.offset, is_anew)
    }

    /// Appends a positioned publication: the topic's part, whichever engine gave the position.
    fn append(&mut self, publication: Arc<Publication>, now: Uptime, topic: &Topic) -> Vec<Arc<Publication>> {
        let size = Publication::history_bytes(&publication.content);
        let (offset, head) = (publication.offset, self.ring.head().next());
        topic.end_history_in_time(self, now);
        self.published_at = now;
        let is_awaited = topic.is_awaited();
        self.ring.push((publication, offset, size), now, &topic.bounds(is_awaited), || {
            topic.unread(head, is_awaited)
        })
    }
}

/// What a publication was made of that nobody else has seen.
fn given_back(publication: Arc<Publication>) -> Box<Unpositioned> {
    Box::new(Arc::into_inner(publication).expect("nobody else has seen it").into_content())
}

/// The offset before this one.
fn before(offset: Offset) -> Offset {
    Offset::new(offset.get().saturating_sub(1))
}
