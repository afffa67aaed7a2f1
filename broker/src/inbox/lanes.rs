//! Lanes that lead to one thread, each with a bound of its own. What waits in one is never in another's way.

use std::collections::VecDeque;
use std::sync::PoisonError;

use crate::sync::{Mutex, MutexGuard, Notify};

/// What is sent to whoever takes it, in `N` lanes. Invariant: a lane holds as many as its bound at most.
#[derive(Debug)]
pub(crate) struct Lanes<T, const N: usize> {
    lanes: Mutex<[Lane<T>; N]>,
    news: Notify,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

impl<T, const N: usize> Lanes<T, N> {
    pub(crate) fn new() -> Self {
        let lane = |_| Lane { waiting: VecDeque::new(), is_closed: false };
        Self { lanes: Mutex::new(std::array::from_fn(lane)), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, [Lane<T>; N]> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it into that lane, in which no more than `most` may wait.
    ///
    /// # Errors
    /// Gives it back where as many wait, or the lane is closed.
    pub(crate) fn put(&self, lane: usize, most: usize, item: T) -> Result<(), T> {
        self.put_quietly(lane, most, item)?;
        self.nudge();
        Ok(())
    }

    /// Puts it in without a word.
    pub(crate) fn put_quietly(&self, lane: usize, most: usize, item: T) -> Result<(), T> {
        let lane = &mut self.lock()[lane];
        if lane.is_closed || lane.waiting.len() >= most {
            return Err(item);
        }
        lane.waiting.push_back(item);
        Ok(())
    }

    /// Has whoever takes look, although nothing may be in here.
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

    /// Moves the oldest of each lane `into` there, as many of each as `most` says. Says whether more wait.
    pub(crate) fn take(&self, most: [usize; N], into: &mut Vec<T>) -> bool {
        let mut has_more = false;
        for (Lane { waiting, .. }, most) in self.lock().iter_mut().zip(most) {
            let count = most.min(waiting.len());
            into.extend(waiting.drain(..count));
            has_more |= !waiting.is_empty();
            if waiting.is_empty() {
                // A crowd that waited here leaves nothing behind.
                waiting.shrink_to(64);
            }
        }
        has_more
    }

    /// How many wait in a lane.
    pub(crate) fn waiting(&self, lane: usize) -> usize {
        self.lock()[lane].waiting.len()
    }

    /// Closes a lane: returns what waits in it.
    pub(crate) fn close(&self, lane: usize) -> VecDeque<T> {
        let lane = &mut self.lock()[lane];
        lane.is_closed = true;
        std::mem::take(&mut lane.waiting)
    }

    pub(crate) fn is_closed(&self, lane: usize) -> bool {
        self.lock()[lane].is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_full_or_closed_takes_no_more_and_leaves_the_others_theirs() {
        let lanes = Lanes::<u32, 2>::new();
        for n in 0..3 {
            assert_eq!(lanes.put(0, 3, n), Ok(()));
        }
        assert_eq!((lanes.put(0, 3, 3), lanes.put(1, 1, 10)), (Err(3), Ok(())));
        let mut taken = Vec::new();
        assert!(lanes.take([2, 1], &mut taken), "one is left");
        assert_eq!(taken, [0, 1, 10], "the oldest of each");
        assert_eq!((lanes.close(0), lanes.put(0, 3, 4), lanes.put(1, 1, 11)), ([2].into(), Err(4), Ok(())));
        assert!(lanes.is_closed(0) && !lanes.is_closed(1));
    }
}
