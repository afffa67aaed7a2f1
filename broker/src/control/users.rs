//! Users: who is connected, and with how much.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page_size;
use super::scan::{Found, scan};
use crate::answer::Refusal;
use crate::hub::Hub;
use crate::inbox::{ASKED_MAX, Visited};

/// What a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UserSeen {
    pub(crate) connections: usize,
    pub(crate) subscriptions: usize,
}

/// Some users, in the order of their names.
#[derive(Debug)]
pub(crate) struct UsersPage {
    pub(crate) users: Vec<(Arc<str>, UserSeen)>,
    /// The user after whom the next page begins; `None` after the last one.
    pub(crate) cursor: Option<Arc<str>>,
}

/// The users with connections whose names come after that one: at most `limit`, and at most as many as a page holds. All connections are
/// looked at for each page, a few at a time.
///
/// # Errors
/// [`Refusal`](crate::answer::Refusal): a worker did not answer in time.
///
/// # Cancel safety
/// Cancel safe: it changes nothing, and nothing more is looked at.
pub(crate) async fn list(
    hub: &Hub,
    after: Option<String>,
    limit: Option<usize>,
) -> Result<UsersPage, Refusal> {
    let limit = page_size(limit);
    let look = |connection: &dyn Visited| {
        let user = connection.user()?;
        Some((user, connection.summary().subscriptions))
    };
    let mut users = BTreeMap::<Arc<str>, UserSeen>::new();
    let take = |found: Found<Option<(Arc<str>, usize)>>| {
        let Some((user, subscriptions)) = found.seen else { return false };
        if after.as_deref().is_none_or(|after| *user > *after) {
            let seen = users.entry(user).or_default();
            seen.connections += 1;
            seen.subscriptions += subscriptions;
            // One more than there may be says whether there is another page.
            if users.len() > limit + 1 {
                users.pop_last();
            }
        }
        false
    };
    let most = hub.directory.len();
    scan(hub, None, (ASKED_MAX, most), look, take).await?;
    let mut users: Vec<_> = users.into_iter().collect();
    let has_more = users.len() > limit;
    users.truncate(limit);
    let cursor = users.last().filter(|_| has_more).map(|(user, _)| Arc::clone(user));
    Ok(UsersPage { users, cursor })
}
