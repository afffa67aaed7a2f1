//! Connections: which there are, one in full, and how an operator ends one or a subscription of it.

use std::sync::Arc;

use fanfare_protocol::{CloseCode, TopicName};

use super::page_size;
use super::scan::{Found, look_at, scan};
use crate::answer::Refusal;
use crate::hub::Hub;
use crate::ids::ConnectionId;
use crate::inbox::{ASKED_MAX, GrantSeen, SubscriptionSeen, Summary, Visited};

/// Connections that are looked at for one page: where few of many are wanted a page may be empty, and have a next one.
const LOOKED_AT_MAX: usize = 64 * 1024;
/// What is said to those whom an operator closes.
const CLOSED: &str = "closed by an operator";

/// Which connections are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Those of that user.
    pub(crate) user: Option<String>,
    /// Those that subscribe to that topic.
    pub(crate) topic: Option<TopicName>,
}

impl Filter {
    fn is_everybody(&self) -> bool {
        self.user.is_none() && self.topic.is_none()
    }

    fn wants(&self, connection: &dyn Visited) -> bool {
        let is_of = |user: &String| connection.user().as_deref() == Some(user);
        let reads = |topic: &TopicName| connection.subscribes_to(topic.as_str());
        self.user.as_ref().is_none_or(is_of) && self.topic.as_ref().is_none_or(reads)
    }
}

/// Some connections, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) connections: Vec<Found<Summary>>,
    /// The connection after which the next page begins; `None` after the last one.
    pub(crate) cursor: Option<ConnectionId>,
}

/// The connections that are wanted and came after that one: at most `limit`, and at most as many as a page holds. Whoever lives from the
/// first page to the last is on one of them, wherever it moves.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
///
/// # Cancel safety
/// Cancel safe: it changes nothing, and nothing more is looked at.
pub(crate) async fn list(
    hub: &Hub,
    filter: Filter,
    after: Option<ConnectionId>,
    limit: Option<usize>,
) -> Result<Page, Refusal> {
    let limit = page_size(limit);
    let slice = if filter.is_everybody() { limit } else { ASKED_MAX };
    let look = move |connection: &dyn Visited| filter.wants(connection).then(|| connection.summary());
    let mut connections = Vec::new();
    let take = |Found { id, age, seen }: Found<Option<Summary>>| {
        connections.extend(seen.map(|seen| Found { id, age, seen }));
        connections.len() >= limit
    };
    let cursor = scan(hub, after, (slice, LOOKED_AT_MAX), look, take).await?;
    Ok(Page { connections, cursor })
}

/// A connection in full.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) summary: Summary,
    pub(crate) grant: GrantSeen,
    /// A page of its subscriptions, in the order of their topics' names.
    pub(crate) subscriptions: Vec<SubscriptionSeen>,
    /// The name after which the next page begins; `None` after the last one.
    pub(crate) cursor: Option<TopicName>,
}

/// One connection, with those of its subscriptions that come after that name, at most `limit`; `None` where it is no more.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
///
/// # Cancel safety
/// Cancel safe: it changes nothing.
pub(crate) async fn describe(
    hub: &Hub,
    id: ConnectionId,
    after: Option<String>,
    limit: Option<usize>,
) -> Result<Option<Found<Description>>, Refusal> {
    let limit = page_size(limit);
    let look = move |connection: &dyn Visited| {
        // One more than there may be says whether there is another page.
        let mut subscriptions = connection.subscriptions(after.as_deref(), limit + 1);
        let has_more = subscriptions.len() > limit;
        subscriptions.truncate(limit);
        let last = subscriptions.last().filter(|_| has_more);
        let cursor = last.map(|last| last.topic.clone());
        Description { summary: connection.summary(), grant: connection.grant(), subscriptions, cursor }
    };
    one(hub, id, look).await
}

/// Closes a connection with 4403; says whether there is one. What waits to be written to it is dropped.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
///
/// # Cancel safety
/// It may be closed all the same.
pub(crate) async fn close(hub: &Hub, id: ConnectionId) -> Result<bool, Refusal> {
    let closed = one(hub, id, |connection| connection.close(CloseCode::FORBIDDEN, CLOSED)).await?;
    Ok(closed.is_some())
}

/// Closes the connections of a user that are there when it begins, with 4403; says how many. Who comes back is let in.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time. Some may be closed.
///
/// # Cancel safety
/// Some may be closed.
pub(crate) async fn close_user(hub: &Hub, user: String) -> Result<usize, Refusal> {
    let filter = Filter { user: Some(user), topic: None };
    let look = move |connection: &dyn Visited| {
        let is_wanted = filter.wants(connection) && connection.summary().is_open;
        if is_wanted {
            connection.close(CloseCode::FORBIDDEN, CLOSED);
        }
        is_wanted
    };
    let mut closed = 0;
    let take = |found: Found<bool>| {
        closed += usize::from(found.seen);
        false
    };
    // Those that come meanwhile are after all that were there, and are not waited for without an end.
    let most = hub.directory.len();
    scan(hub, None, (ASKED_MAX, most), look, take).await?;
    Ok(closed)
}

/// Ends a subscription of a connection, which is told so; says whether there was one, `None` where the connection is no more.
///
/// # Errors
/// [`Refusal`]: a worker did not answer in time.
///
/// # Cancel safety
/// It may have ended all the same.
pub(crate) async fn end_subscription(
    hub: &Hub,
    id: ConnectionId,
    topic: TopicName,
) -> Result<Option<bool>, Refusal> {
    let ended = one(hub, id, move |connection| connection.end_subscription(topic.as_str())).await?;
    Ok(ended.map(|ended| ended.seen))
}

/// Looks at one connection, wherever it is; `None` where it is no more.
async fn one<T: Send + 'static>(
    hub: &Hub,
    id: ConnectionId,
    look: impl Fn(&dyn Visited) -> T + Send + Sync + 'static,
) -> Result<Option<Found<T>>, Refusal> {
    let Some(listed) = hub.directory.find(id) else { return Ok(None) };
    Ok(look_at(hub, vec![listed], &Arc::new(look)).await?.pop())
}
