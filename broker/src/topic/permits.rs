//! Permits for topics to which nobody has published: how many of them each user's subscriptions may bring into being,
//! so that subscribers never take the capacity that publishers need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit::TopicLimit;

/// Who subscribes; those without credentials are one user together.
type User = Option<Arc<str>>;

/// The permits of all users: how many topics the subscriptions of each hold.
#[derive(Debug)]
pub(crate) struct TopicPermits {
    held: Mutex<Counts>,
    /// The most topics of one user.
    per_user: AtomicUsize,
    /// The most topics of all users together.
    in_all: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    /// Holds only users with topics, so it is no larger than the table.
    by_user: HashMap<User, usize>,
    /// Invariant: the sum of `by_user`.
    in_all: usize,
}

impl TopicPermits {
    pub(crate) fn new(per_user: usize, in_all: usize) -> Arc<Self> {
        let (per_user, in_all) = (AtomicUsize::new(per_user), AtomicUsize::new(in_all));
        Arc::new(Self { held: Mutex::default(), per_user, in_all })
    }

    /// Sets how many there may be from now on. Those that are held stay.
    pub(super) fn set_limits(&self, per_user: usize, in_all: usize) {
        self.per_user.store(per_user, Ordering::Relaxed);
        self.in_all.store(in_all, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more topic of that user, until the permit is dropped.
    ///
    /// # Errors
    /// [`TopicLimit`]: this user's subscriptions, or all together, hold as many topics as they may.
    pub(crate) fn acquire(self: &Arc<Self>, user: Option<&Arc<str>>) -> Result<TopicPermit, TopicLimit> {
        let user = user.cloned();
        let (per_user, in_all) = (self.per_user.load(Ordering::Relaxed), self.in_all.load(Ordering::Relaxed));
        let mut held = self.lock();
        if held.by_user.get(&user).is_some_and(|&count| count >= per_user) || per_user == 0 {
            // It may be others who hold them, and let go.
            return Err(if user.is_none() { TopicLimit::Strangers } else { TopicLimit::User });
        }
        if held.in_all >= in_all {
            return Err(TopicLimit::Table);
        }
        held.in_all += 1;
        *held.by_user.entry(user.clone()).or_default() += 1;
        Ok(TopicPermit { permits: Arc::clone(self), user })
    }
}

/// A permit for one topic of a user; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct TopicPermit {
    permits: Arc<TopicPermits>,
    user: User,
}

impl Drop for TopicPermit {
    fn drop(&mut self) {
        let mut held = self.permits.lock();
        held.in_all -= 1;
        if let Some(count) = held.by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                held.by_user.remove(&self.user);
                // What a crowd of users needed is not kept for ever.
                let wanted = held.by_user.len();
                if wanted * 8 < held.by_user.capacity() {
                    held.by_user.shrink_to(wanted * 2);
                }
            }
        }
    }
}

/// The place in a topic for the permit by which it is counted, if it is.
#[derive(Debug, Default)]
pub(crate) struct TopicPermitSlot {
    /// Whether there is a permit: spares those who publish the lock.
    is_taken: AtomicBool,
    permit: Mutex<Option<Box<TopicPermit>>>,
}

impl TopicPermitSlot {
    /// Keeps the permit until the slot is cleared or dropped.
    pub(crate) fn put(&self, permit: TopicPermit) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(permit));
        self.is_taken.store(true, Ordering::Relaxed);
    }

    /// Gives the permit back; costs one load where there is none.
    pub(crate) fn clear(&self) {
        if self.is_taken.load(Ordering::Relaxed) {
            self.is_taken.store(false, Ordering::Relaxed);
            drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_holds_so_many_and_all_together_so_many() {
        let permits = TopicPermits::new(2, 3);
        let (alice, bob) = (Arc::from("alice"), Arc::from("bob"));
        let acquire = |user: Option<&Arc<str>>| permits.acquire(user);
        let first = acquire(Some(&alice)).expect("a permit");
        let second = acquire(Some(&alice)).expect("a permit");
        assert_eq!(acquire(Some(&alice)).unwrap_err(), TopicLimit::User);
        let stranger = acquire(None).expect("a permit");
        assert_eq!(acquire(Some(&bob)).unwrap_err(), TopicLimit::Table);
        drop(first);
        let third = acquire(Some(&bob)).expect("a permit again");
        drop((second, third, stranger));
        let held = permits.lock();
        assert_eq!((held.in_all, held.by_user.len()), (0, 0));
    }

    #[test]
    fn a_slot_gives_its_permit_back_once() {
        let permits = TopicPermits::new(1, 1);
        let slot = TopicPermitSlot::default();
        slot.put(permits.acquire(None).expect("a permit"));
        assert_eq!(permits.acquire(None).unwrap_err(), TopicLimit::Strangers);
        slot.clear();
        slot.clear();
        assert!(permits.acquire(None).is_ok());
    }
}
