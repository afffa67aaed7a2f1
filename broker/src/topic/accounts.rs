//! Topics to which nobody has published: whose subscriptions brought them into being, and how many of these a
//! user may have, so that subscribers never take the capacity that publishers need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit::TopicLimit;

/// Who subscribes; those without credentials are one user together.
type User = Option<Arc<str>>;

/// How many topics each user's subscriptions hold.
#[derive(Debug)]
pub(crate) struct Accounts {
    held: Mutex<Held>,
    /// Topics of one user.
    per_user: usize,
    /// And of all users together.
    in_all: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// Holds only users with topics, so it is no larger than the table.
    by_user: HashMap<User, usize>,
    /// Invariant: the sum of `by_user`.
    in_all: usize,
}

impl Accounts {
    pub(crate) fn new(per_user: usize, in_all: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), per_user, in_all })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more topic of that user, until the entry is dropped.
    ///
    /// # Errors
    /// [`TopicLimit`].
    pub(crate) fn enter(self: &Arc<Self>, user: Option<&Arc<str>>) -> Result<Entry, TopicLimit> {
        let user = user.cloned();
        let mut held = self.lock();
        if held.by_user.get(&user).is_some_and(|&count| count >= self.per_user) || self.per_user == 0 {
            // It may be others who hold them, and let go.
            return Err(if user.is_none() { TopicLimit::Strangers } else { TopicLimit::User });
        }
        if held.in_all >= self.in_all {
            return Err(TopicLimit::Table);
        }
        held.in_all += 1;
        *held.by_user.entry(user.clone()).or_default() += 1;
        Ok(Entry { accounts: Arc::clone(self), user })
    }
}

/// One topic on a user's account; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Entry {
    accounts: Arc<Accounts>,
    user: User,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut held = self.accounts.lock();
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

/// Where a topic keeps the entry that it is counted by, if it is.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Spares those who publish the lock.
    is_open: AtomicBool,
    entry: Mutex<Option<Box<Entry>>>,
}

impl Account {
    /// Keeps the entry until the account is closed or dropped.
    pub(crate) fn open(&self, entry: Entry) {
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(entry));
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Gives the entry back; costs one load where there is none.
    pub(crate) fn close(&self) {
        if self.is_open.load(Ordering::Relaxed) {
            self.is_open.store(false, Ordering::Relaxed);
            drop(self.entry.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_holds_so_many_and_all_together_so_many() {
        let accounts = Accounts::new(2, 3);
        let (alice, bob) = (Arc::from("alice"), Arc::from("bob"));
        let enter = |user: Option<&Arc<str>>| accounts.enter(user);
        let first = enter(Some(&alice)).expect("room");
        let second = enter(Some(&alice)).expect("room");
        assert_eq!(enter(Some(&alice)).unwrap_err(), TopicLimit::User);
        let stranger = enter(None).expect("room");
        assert_eq!(enter(Some(&bob)).unwrap_err(), TopicLimit::Table);
        drop(first);
        let third = enter(Some(&bob)).expect("room again");
        drop((second, third, stranger));
        let held = accounts.lock();
        assert_eq!((held.in_all, held.by_user.len()), (0, 0));
    }

    #[test]
    fn an_account_gives_its_entry_back_once() {
        let accounts = Accounts::new(1, 1);
        let account = Account::default();
        account.open(accounts.enter(None).expect("room"));
        assert_eq!(accounts.enter(None).unwrap_err(), TopicLimit::Strangers);
        account.close();
        account.close();
        assert!(accounts.enter(None).is_ok());
    }
}
