//! What waits for the readers of a client, all together: bounded in bytes, and counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fanfare_protocol::OnLag;

use super::backpressure::Backpressure;
use super::queue::EventQueue;
use crate::statistics::Counters;

/// The bytes of all events that wait in the queues of a client.
///
/// Beyond the bound the queue that holds most gives first, so that a reader that stands still costs the others nothing.
/// Each keeps its newest event, however large.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) backpressure: Backpressure,
    pub(crate) counters: Counters,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// More than so many bytes are worth looking for who may give.
    shrink_above: AtomicUsize,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    all: Vec<Weak<EventQueue>>,
    /// Length at which those that are gone are looked for.
    sweep_at: usize,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            backpressure: Backpressure::default(),
            counters: Counters::default(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            shrink_above: AtomicUsize::new(bytes_max),
            queues: Mutex::default(),
        })
    }

    /// A queue whose events count here.
    pub(crate) fn queue(self: &Arc<Self>, capacity: usize, on_lag: OnLag) -> Arc<EventQueue> {
        let queue = Arc::new(EventQueue::new(capacity, on_lag, Arc::clone(self)));
        let mut queues = self.lock();
        if queues.all.len() >= queues.sweep_at {
            queues.all.retain(|queue| queue.strong_count() > 0);
            queues.sweep_at = 2 * queues.all.len() + 16;
        }
        queues.all.push(Arc::downgrade(&queue));
        queue
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What one queue may hold before reading waits for its reader: a share at which the others have capacity all the same.
    pub(crate) fn share(&self) -> usize {
        self.bytes_max / 8
    }

    /// Has those that hold most give, where all together hold too much. To be called with no queue locked.
    pub(crate) fn shrink(&self) {
        let shrink_above = self.shrink_above.load(Ordering::Relaxed);
        match self.bytes() {
            bytes if bytes <= self.bytes_max && shrink_above > self.bytes_max => {
                self.shrink_above.store(self.bytes_max, Ordering::Relaxed);
                return;
            }
            bytes if bytes <= shrink_above => return,
            _ => {}
        }
        let queues: Vec<_> = self.lock().all.iter().filter_map(Weak::upgrade).collect();
        let mut by_bytes: Vec<_> = queues.iter().map(|queue| (queue.bytes(), queue)).collect();
        by_bytes.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        // Somewhat more than must be, so that not every event asks who holds most.
        let enough = self.bytes_max / 8 * 7;
        for (bytes, queue) in by_bytes {
            let over = self.bytes().saturating_sub(enough);
            if over == 0 || bytes == 0 {
                break;
            }
            queue.give(over);
        }
        // What the newest event of each takes nobody gives: it is not looked for again with every event.
        let left = self.bytes();
        let above = if left > self.bytes_max { left + self.bytes_max / 8 } else { self.bytes_max };
        self.shrink_above.store(above, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
