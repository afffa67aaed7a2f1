//! What was revoked of tokens that the broker does not know until they are brought: by user, by id, by when they were issued.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Uptime;

/// Users and ids that may be revoked at a time.
const ENTRIES_MAX: usize = 16 * 1024;
/// Bytes of a token's id.
pub(super) const TOKEN_ID_BYTES_MAX: usize = 128;

/// What is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// The tokens of a user that were issued before that, in Unix seconds; those that do not say when are among them. Without a time
    /// all that there are now, whatever the clock of whoever issued them (within the leeway), those of the configuration too.
    User {
        /// Who it is.
        user: String,
        /// Tokens issued from then on stay good.
        issued_before: Option<u64>,
    },
    /// The one token with this id, the claim `jti`.
    TokenId(String),
    /// All signed tokens that were issued before that, in Unix seconds; those that do not say when are among them.
    IssuedBefore(u64),
}

impl Revocation {
    /// Its place in a listing, which is in the order of these.
    pub(crate) fn cursor(&self) -> String {
        match self {
            Self::IssuedBefore(_) => "issued_before".to_owned(),
            Self::TokenId(id) => format!("jti:{id}"),
            Self::User { user, .. } => format!("user:{user}"),
        }
    }

    /// All tokens of a user that there are now.
    pub fn of_user(user: impl Into<String>) -> Self {
        Self::User { user: user.into(), issued_before: None }
    }
}

/// Why nothing was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// As much is revoked as can be remembered.
    #[error(
        "as many users and tokens are revoked as can be remembered; revoke all that were issued before a time, or change the key"
    )]
    Full,
    /// Nothing was issued then yet, and what is issued until then would be revoked too.
    #[error("a time in the future, in Unix seconds: tokens that are yet to be issued cannot be revoked")]
    Future,
    /// No token can have that id, or be that user's.
    #[error("no token can be of that user, or have that id: it is empty or longer than 128 bytes")]
    Nobody,
}

/// What was revoked, as long as a token may be there that it concerns. Of bounded size.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    /// How often something was revoked: what was found good at this number is so still.
    generation: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    users: BTreeMap<Box<str>, Before>,
    ids: BTreeMap<Box<str>, Uptime>,
    all: Option<Before>,
}

/// A time before which what was issued is revoked, in Unix seconds, and how long that is to be remembered.
#[derive(Debug, Clone, Copy)]
struct Before {
    issued: u64,
    until: Uptime,
}

impl Before {
    fn concerns(self, issued_at: Option<u64>) -> bool {
        issued_at.is_none_or(|issued_at| issued_at < self.issued)
    }

    fn widen(&mut self, other: Self) {
        self.issued = self.issued.max(other.issued);
        self.until = self.until.max(other.until);
    }
}

impl Revocations {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a token is revoked, by its user, its id, and when it was issued.
    pub(super) fn concern(&self, user: Option<&str>, id: Option<&str>, issued_at: Option<u64>) -> bool {
        let table = self.lock();
        table.all.is_some_and(|before| before.concerns(issued_at))
            || user.and_then(|user| table.users.get(user)).is_some_and(|before| before.concerns(issued_at))
            || id.is_some_and(|id| table.ids.contains_key(id))
    }

    /// Revokes the tokens of a user that were issued before that.
    ///
    /// # Errors
    /// [`RevocationError`]: nothing has changed.
    pub(super) fn revoke_user(
        &self,
        user: &str,
        issued: u64,
        remember: Duration,
    ) -> Result<(), RevocationError> {
        self.revoke(|table, now| {
            let before = Before { issued, until: now.plus(remember) };
            let has_room = table.make_room(now);
            match table.users.entry(user.into()) {
                Entry::Occupied(mut entry) => entry.get_mut().widen(before),
                Entry::Vacant(entry) => {
                    has_room?;
                    entry.insert(before);
                }
            }
            Ok(())
        })
    }

    /// Revokes the token of that id.
    ///
    /// # Errors
    /// [`RevocationError`]: nothing has changed.
    pub(super) fn revoke_id(&self, id: &str, remember: Duration) -> Result<(), RevocationError> {
        self.revoke(|table, now| {
            let has_room = table.make_room(now);
            match table.ids.entry(id.into()) {
                Entry::Occupied(mut entry) => {
                    entry.insert(now.plus(remember).max(*entry.get()));
                }
                Entry::Vacant(entry) => {
                    has_room?;
                    entry.insert(now.plus(remember));
                }
            }
            Ok(())
        })
    }

    /// Revokes all that were issued before that.
    pub(super) fn revoke_all(&self, issued: u64, remember: Duration) {
        let before = Before { issued, until: Uptime::now().plus(remember) };
        self.lock().all.get_or_insert(before).widen(before);
        self.count();
    }

    /// What is remembered, and for how long yet: up to `most` of what comes after that cursor.
    pub(super) fn list(&self, after: Option<&str>, most: usize) -> Vec<(Revocation, Duration)> {
        let now = Uptime::now();
        let after_in = |kind: &str| match after {
            Some(after) if after >= kind => after.strip_prefix(kind).map(Bound::Excluded),
            _ => Some(Bound::Unbounded),
        };
        let found: Vec<_> = {
            let table = self.lock();
            let all = table.all.filter(|_| after.is_none_or(|after| after < "issued_before"));
            let all = all.map(|before| (Revocation::IssuedBefore(before.issued), before.until));
            let ids = behind(&table.ids, after_in("jti:"))
                .map(|(id, until)| (Revocation::TokenId(id.to_string()), *until));
            let users = behind(&table.users, after_in("user:")).map(|(user, before)| {
                let issued_before = Some(before.issued);
                (Revocation::User { user: user.to_string(), issued_before }, before.until)
            });
            all.into_iter().chain(ids).chain(users).filter(|&(_, until)| until > now).take(most).collect()
        };
        found.into_iter().map(|(revocation, until)| (revocation, until.since(now))).collect()
    }

    fn revoke(
        &self,
        change: impl FnOnce(&mut Table, Uptime) -> Result<(), RevocationError>,
    ) -> Result<(), RevocationError> {
        change(&mut self.lock(), Uptime::now())?;
        self.count();
        Ok(())
    }

    /// Counts a change, behind which it comes: whoever sees the number finds it.
    fn count(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Sees to it that one more can be remembered.
    fn make_room(&mut self, now: Uptime) -> Result<(), RevocationError> {
        if self.users.len() + self.ids.len() >= ENTRIES_MAX {
            self.users.retain(|_, before| before.until > now);
            self.ids.retain(|_, until| *until > now);
        }
        if self.users.len() + self.ids.len() >= ENTRIES_MAX { Err(RevocationError::Full) } else { Ok(()) }
    }
}

/// What is in the map behind that, in order; nothing, where that is behind all.
fn behind<'m, V>(
    map: &'m BTreeMap<Box<str>, V>,
    after: Option<Bound<&'m str>>,
) -> impl Iterator<Item = (&'m Box<str>, &'m V)> {
    after.into_iter().flat_map(|after| map.range::<str, _>((after, Bound::Unbounded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn what_is_revoked_is_what_was_issued_before() {
        let revoked = Revocations::default();
        assert!(!revoked.concern(Some("alice"), Some("t1"), None), "nothing is revoked yet");
        revoked.revoke_user("alice", 100, DAY).expect("room");
        revoked.revoke_id("t1", DAY).expect("room");
        revoked.revoke_all(50, DAY);
        for (user, id, issued_at, expected) in [
            ("alice", None, Some(99), true),
            ("alice", None, Some(100), false),
            ("alice", None, None, true),
            ("Alice", None, Some(99), false),
            ("bob", Some("t1"), Some(1000), true),
            ("bob", Some("t11"), Some(1000), false),
            ("bob", None, Some(49), true),
            ("bob", None, Some(50), false),
            ("bob", None, None, true),
        ] {
            assert_eq!(revoked.concern(Some(user), id, issued_at), expected, "{user} {id:?} {issued_at:?}");
        }
        revoked.revoke_user("alice", 10, DAY).expect("room");
        assert!(revoked.concern(Some("alice"), None, Some(99)), "what is revoked stays so");
    }

    #[test]
    fn the_table_has_a_bound_and_what_has_had_its_time_makes_room() {
        let revoked = Revocations::default();
        let before = revoked.generation();
        for n in 0..ENTRIES_MAX {
            let remember = if n == 0 { Duration::ZERO } else { DAY };
            revoked.revoke_id(&n.to_string(), remember).expect("room");
        }
        assert_eq!(revoked.revoke_user("alice", 1, DAY), Ok(()), "the first has had its time");
        let full = revoked.generation();
        assert_eq!(full - before, ENTRIES_MAX as u64 + 1);
        assert_eq!(revoked.revoke_id("one more", DAY), Err(RevocationError::Full));
        assert_eq!(revoked.generation(), full, "nothing has changed");
        revoked.revoke_all(100, DAY);
        assert!(revoked.concern(None, None, Some(1)), "that takes no room");
        assert_eq!(revoked.revoke_id("7", DAY), Ok(()), "so does what is revoked already");
        assert_eq!(revoked.revoke_user("alice", 100, DAY), Ok(()));
        assert!(revoked.concern(Some("alice"), None, Some(99)));
    }

    #[test]
    fn a_listing_goes_on_behind_its_cursor_wherever_that_is() {
        let revoked = Revocations::default();
        revoked.revoke_all(100, DAY);
        for name in ["a", "b:", "\u{e4}"] {
            revoked.revoke_id(name, DAY).expect("room");
            revoked.revoke_user(name, 100, DAY).expect("room");
        }
        revoked.revoke_id("over", Duration::ZERO).expect("room");
        let cursors = |after: Option<&str>, most| -> Vec<_> {
            revoked.list(after, most).iter().map(|(revocation, _)| revocation.cursor()).collect()
        };
        let all = cursors(None, 100);
        assert_eq!(
            all,
            ["issued_before", "jti:a", "jti:b:", "jti:\u{e4}", "user:a", "user:b:", "user:\u{e4}"]
        );
        for page in 1..=all.len() {
            let mut seen = Vec::new();
            loop {
                let found = cursors(seen.last().map(String::as_str), page);
                if found.is_empty() {
                    break;
                }
                seen.extend(found);
            }
            assert_eq!(seen, all, "pages of {page}");
        }
        for (after, expected) in
            [("", 7), ("i", 7), ("j", 6), ("jti:aa", 5), ("k", 3), ("user:", 3), ("user:zz", 1), ("v", 0)]
        {
            assert_eq!(cursors(Some(after), 100).len(), expected, "{after}");
        }
    }
}
