//! The bounded queue between the driver and one subscription's reader.
//!
//! A queue that is half full asks for a turn of its reader, and one that is full has the driver read nothing, for a
//! [bounded time](super::read_pause). When its reader is behind by more than the capacity all the same, the oldest
//! events make room and become one gap in front of what is left: order is kept, the loss is counted, and
//! memory is bounded whatever happens. What all queues hold together is bounded [in bytes](super::backlog).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use fanfare_protocol::OnLag;
use fanfare_protocol::limits::FRAMES_PER_MESSAGE_MAX;

use super::backlog::Backlog;
use crate::event::{Event, Gap};
use crate::state::CloseReason;

#[derive(Debug)]
pub(crate) struct EventQueue {
    /// Most events held, at least 1.
    capacity: usize,
    on_lag: OnLag,
    backlog: Arc<Backlog>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What was dropped in front of `events`.
    lost: Option<Gap>,
    /// Invariant: at most `capacity` and one message long.
    events: VecDeque<Event>,
    /// What they take.
    bytes: usize,
    /// Why nothing more will be pushed.
    closed: Option<CloseReason>,
    /// Whether the reader has seen [`Event::Closed`].
    finished: bool,
    /// Whether the reader is gone.
    departed: bool,
    /// What the driver is relieved with, from when the queue was full until it is half empty.
    full: Option<u64>,
    waker: Option<Waker>,
}

impl EventQueue {
    /// See [`Backlog::queue`].
    pub(crate) fn new(capacity: usize, on_lag: OnLag, backlog: Arc<Backlog>) -> Self {
        Self { capacity: capacity.max(1), on_lag, backlog, inner: Mutex::default() }
    }

    /// Takes an event for the reader; returns whether the subscription goes on.
    pub(crate) fn push(&self, event: Event) -> bool {
        let mut inner = self.lock();
        if inner.departed || inner.closed.is_some() {
            return false;
        }
        let len = inner.events.len();
        if len >= self.len_max(&inner) {
            match self.on_lag {
                OnLag::Disconnect => {
                    drop(inner);
                    self.close(CloseReason::TooSlow);
                    return false;
                }
                OnLag::Latest => self.drop_oldest(&mut inner, len),
                OnLag::Gap => self.drop_oldest(&mut inner, len + 1 - self.capacity),
            }
        }
        let bytes = event.bytes();
        inner.bytes += bytes;
        self.backlog.add(bytes);
        inner.events.push_back(event);
        if self.on_lag != OnLag::Latest {
            self.press(&mut inner);
        }
        wake(inner);
        self.backlog.shrink();
        true
    }

    /// The broker could not keep what the connection had yet to read.
    pub(crate) fn gap(&self, gap: Gap) {
        match self.on_lag {
            OnLag::Disconnect => self.close(CloseReason::TooSlow),
            _ => drop(self.push(Event::Gap(gap))),
        }
    }

    /// Bytes that wait here.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Gives up so many bytes, or what there is but for the newest event.
    pub(crate) fn give(&self, bytes: usize) {
        let mut inner = self.lock();
        if self.on_lag == OnLag::Disconnect {
            // What is kept until it is read would be taken from others.
            let count = inner.events.len();
            self.drop_oldest(&mut inner, count);
            drop(inner);
            return self.close(CloseReason::TooSlow);
        }
        let mut left = if self.on_lag == OnLag::Latest { usize::MAX } else { bytes };
        let others = inner.events.len().saturating_sub(1);
        let given = inner.events.iter().take(others).take_while(|event| {
            let gives = left > 0;
            left = left.saturating_sub(event.bytes());
            gives
        });
        let count = given.count();
        self.drop_oldest(&mut inner, count);
    }

    fn drop_oldest(&self, inner: &mut Inner, count: usize) {
        let mut bytes = 0;
        for event in inner.events.drain(..count) {
            bytes += event.bytes();
            if let Some(gap) = Gap::of(&event) {
                inner.lost = Some(inner.lost.map_or(gap, |lost| lost.followed_by(gap)));
            }
        }
        self.give_back(inner, bytes);
    }

    fn give_back(&self, inner: &mut Inner, bytes: usize) {
        inner.bytes -= bytes;
        self.backlog.give_back(bytes);
    }

    /// How many events may wait now. While the driver waits for the reader, or will before it reads on, there is capacity
    /// for the rest of what it is reading.
    fn len_max(&self, inner: &Inner) -> usize {
        let is_waited_for = inner.full.is_none_or(|full| !self.backlog.backpressure.has_given_up(full));
        match self.on_lag {
            OnLag::Gap | OnLag::Disconnect if is_waited_for => self.capacity + FRAMES_PER_MESSAGE_MAX,
            _ => self.capacity,
        }
    }

    /// Asks for what the reader needs so that nothing has to be dropped.
    fn press(&self, inner: &mut Inner) {
        let len = inner.events.len();
        let share = self.backlog.share();
        if 2 * len >= self.capacity || 2 * inner.bytes >= share {
            self.backlog.backpressure.feel();
        }
        if inner.full.is_none() && (len >= self.capacity || inner.bytes >= share) {
            inner.full = Some(self.backlog.backpressure.fill());
        }
    }

    fn relieve(&self, inner: &mut Inner) {
        if let Some(full) = inner.full.take() {
            self.backlog.backpressure.relieve(full);
        }
    }

    /// Ends the subscription once what is queued was read; the first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        inner.closed.get_or_insert(reason);
        self.relieve(&mut inner);
        wake(inner);
    }

    /// The reader is gone: nothing more is taken.
    pub(crate) fn depart(&self) {
        let mut inner = self.lock();
        inner.departed = true;
        inner.lost = None;
        inner.events = VecDeque::new();
        let bytes = inner.bytes;
        self.give_back(&mut inner, bytes);
        self.relieve(&mut inner);
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_over(&self) -> bool {
        let inner = self.lock();
        inner.departed || inner.closed.is_some()
    }

    /// The next event; `None` after [`Event::Closed`].
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.lock();
        if let Some(gap) = inner.lost.take() {
            self.backlog.counters.missed.add(gap.missed.unwrap_or(0));
            return Poll::Ready(Some(Event::Gap(gap)));
        }
        if let Some(event) = inner.events.pop_front() {
            if let Event::Gap(Gap { missed: Some(missed), .. })
            | Event::Resubscribed { missed: Some(missed), .. } = event
            {
                self.backlog.counters.missed.add(missed);
            }
            self.give_back(&mut inner, event.bytes());
            if inner.full.is_some() {
                self.backlog.backpressure.progress();
            }
            if 2 * inner.events.len() <= self.capacity && 2 * inner.bytes <= self.backlog.share() {
                self.relieve(&mut inner);
            }
            return Poll::Ready(Some(event));
        }
        if inner.finished {
            return Poll::Ready(None);
        }
        if let Some(reason) = inner.closed.clone() {
            inner.finished = true;
            return Poll::Ready(Some(Event::Closed(reason)));
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, so the state is whole either way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.backlog.give_back(inner.bytes);
    }
}

/// Wakes the reader, after the lock was released.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
