//! Where topics with something new wait for a worker. [life of a publication: step 4]

use std::sync::PoisonError;

use crate::sync::{Mutex, Notify};

/// The topics `T` that a worker has yet to look at. Bounded by their dirty flags: each is in here at most once.
#[derive(Debug)]
pub struct Mailbox<T> {
    dirty: Mutex<Vec<T>>,
    news: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { dirty: Mutex::new(Vec::new()), news: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts a topic in, whose dirty flag for this worker is set already.
    pub(crate) fn put(&self, topic: T) {
        if self.put_quietly(topic) {
            self.news.notify_one();
        }
    }

    /// Puts a topic in without a word; says whether the worker is to be told.
    pub(crate) fn put_quietly(&self, topic: T) -> bool {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.push(topic);
        dirty.len() == 1
    }

    /// Has the worker look although nothing may be in here.
    pub(crate) fn nudge(&self) {
        self.news.notify_one();
    }

    /// Waits until there may be something in here.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Moves the topics into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *dirty, into);
    }
}
