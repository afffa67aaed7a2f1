//! The doors into a topic. [hot; life of a publication: step 2]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fanfare_protocol::{Offset, Position};

use super::duplicates::{Duplicates, IdHash};
use super::publication::{Publication, Unpositioned};
use super::ring::Seq;
use super::{Accepted, Appended, Retired, State, Topic};
use crate::clock::{Uptime, unix_ms};

impl Topic {
    /// Gives the publication the next position and appends it, in one step under the topic's lock:
    /// what the memory engine does. Waits for nobody; the subscribers are yet to be [woken](Self::wake).
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again; the publication is given back.
    pub(crate) fn assign_and_append(
        &self,
        content: Unpositioned,
    ) -> Result<Accepted, (Retired, Box<Unpositioned>)> {
        // For a request it is when it was whole, a moment ago: that spares the hot path a look at the clock.
        let now = Uptime::of(content.received.into_std());
        let keep = self.namespace.retention.message_ids();
        let id = content.message_id.as_deref().map(IdHash::of);
        // Made before the lock is taken, and what leaves the ring is freed after it is released.
        let mut publication =
            Arc::new(Publication::new(self.name.clone(), Offset::ZERO, unix_ms(), content, &self.budget));
        let evicted;
        let accepted = {
            let mut state = self.lock();
            if state.is_retired {
                drop(state);
                return Err((Retired, given_back(publication)));
            }
            if let Some(id) = id {
                state.duplicates.expire(now, keep);
                if let Some(offset) = state.duplicates.find(id, now, keep) {
                    state.recharge();
                    let position = Position { epoch: state.epoch, offset };
                    return Ok(Accepted { position, is_duplicate: true });
                }
            }
            let position = Position { epoch: state.epoch, offset: state.ring.head_offset().next() };
            Arc::get_mut(&mut publication).expect("nobody else has seen it").offset = position.offset;
            if let Some(id) = id {
                self.namespace.note_ids_evicted(state.duplicates.insert(id, position.offset, now, keep));
            }
            evicted = state.append(publication, now, self);
            self.note_kept(&mut state);
            Accepted { position, is_duplicate: false }
        };
        drop(evicted);
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        Ok(accepted)
    }

    /// Appends a publication that has its position already: the door for what comes from an engine that gives positions
    /// elsewhere, one after the other in their order. What is there already is left as it is. After a `lost` of unknown
    /// size, which leaves out offsets, or where the epoch is a new one, subscribers are told that something is missing.
    /// They are yet to be woken.
    ///
    /// # Errors
    /// [`Retired`]: look the topic up again; the publication is given back.
    pub fn append_at(
        &self,
        position: Position,
        time: u64,
        content: Unpositioned,
        lost: bool,
    ) -> Result<Appended, (Retired, Box<Unpositioned>)> {
        // It may have been received long ago.
        let now = Uptime::now();
        let publication =
            Arc::new(Publication::new(self.name.clone(), position.offset, time, content, &self.budget));
        let mut evicted = Vec::new();
        let mut state = self.lock();
        if state.is_retired {
            drop(state);
            return Err((Retired, given_back(publication)));
        }
        let is_anew = position.epoch != state.epoch;
        if !is_anew && position.offset <= state.ring.head_offset() {
            return Ok(Appended::Known);
        }
        let lost = lost && position.offset > state.ring.head_offset().next();
        if is_anew || lost {
            evicted = state.begin_anew(Position { offset: before(position.offset), ..position }, self);
        }
        evicted.extend(state.append(publication, now, self));
        self.note_kept(&mut state);
        drop(state);
        drop(evicted);
        self.used_at.store(now.as_ms(), Ordering::Relaxed);
        Ok(Appended::New)
    }

    /// Follows what an engine gives positions to elsewhere, from this one on. Who subscribed before is told that something
    /// may be missing.
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
        let size = Publication::size_of(&publication.content);
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
    Box::new(Arc::into_inner(publication).expect("nobody else has seen it").content)
}

/// The offset before this one.
fn before(offset: Offset) -> Offset {
    Offset::new(offset.get().saturating_sub(1))
}
