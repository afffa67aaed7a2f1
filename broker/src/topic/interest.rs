//! Which workers want to hear of a topic, and how far each has read. Lock-free. [Life of a publication: step 4]
//!
//! A publisher appends under the topic's lock and then [tells](Interest::tell) each worker that has subscribers,
//! once until it looks. The worker [takes note](Interest::take_note) before it takes the lock to read. So whatever
//! was appended without telling the worker anew, it finds: the flag that the publisher saw set was taken down only
//! later, and the lock taken later still.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use super::ring::Seq;

/// One worker's interest in a topic.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    subscriptions: AtomicU32,
    /// Set while the worker has been told and has not looked. This is what bounds its mailbox.
    dirty: AtomicBool,
    /// Whether some of its subscribers are behind. Written by the worker alone.
    is_awaited: AtomicBool,
    /// The index of the newest item that it has read. Written by the worker alone.
    read_to: AtomicU64,
}

impl Interest {
    /// Counts a subscription. Under the topic's lock: an item either comes before, and is at most `head`, or its
    /// publisher sees the count.
    pub(crate) fn subscribe(&self, head: Seq) {
        if self.subscriptions.load(Ordering::Relaxed) == 0 {
            // What was appended while nobody listened is not waited for.
            self.read_to.store(head.get(), Ordering::Release);
        }
        self.subscriptions.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends a subscription. Of two workers that end the last ones of a topic at once, one finds no more; and whoever
    /// looks at the topic just then finds none either, or had it taken out of the deadlines before.
    pub(crate) fn unsubscribe(&self) {
        let before = self.subscriptions.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "every subscription ends once");
        fence(Ordering::SeqCst);
    }

    /// Subscriptions of the worker's connections.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.subscriptions.load(Ordering::Acquire)
    }

    /// Says whether the worker is to be woken: it has subscribers and was not told yet. Asked after appending, when
    /// the topic's lock is released.
    pub(crate) fn tell(&self) -> bool {
        self.subscriptions() > 0 && self.mark_dirty()
    }

    /// Has the worker look again; says whether it is to be woken for that.
    pub(crate) fn mark_dirty(&self) -> bool {
        // A look costs less than a swap, and under load the flag is mostly set.
        !self.dirty.load(Ordering::SeqCst) && !self.dirty.swap(true, Ordering::SeqCst)
    }

    /// The worker is about to look: of whatever is appended from now on it must be told again.
    pub(crate) fn take_note(&self) {
        self.dirty.store(false, Ordering::SeqCst);
    }

    /// Whether the worker was told of something and has not looked.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// The worker has read everything up to that index. It never goes back: who came while the worker read, as the
    /// first subscriber then, may have begun further on.
    pub(crate) fn has_read(&self, to: Seq) {
        if to.get() > self.read_to.load(Ordering::Relaxed) {
            self.read_to.store(to.get(), Ordering::Release);
        }
    }

    /// Sets whether some of the worker's subscribers are behind from now on.
    pub(crate) fn await_more(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Ordering::Release);
    }

    /// Whether some of the worker's subscribers are behind: what they want is older than what it has read.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Acquire)
    }

    /// The first index that the worker has yet to read; `None` where it has no subscribers.
    pub(crate) fn unread(&self) -> Option<Seq> {
        (self.subscriptions() > 0).then(|| Seq::new(self.read_to.load(Ordering::Acquire)).next())
    }
}
