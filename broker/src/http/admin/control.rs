//! The admin API: what an operator looks at and does, as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use fanfare_protocol::{ErrorCode, OnLag, TopicName};
use serde::{Deserialize, Serialize};

use crate::answer::Refusal;
use crate::control::{self, Description, Filter, Found};
use crate::http::api::{json, problem};
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::ids::ConnectionId;
use crate::inbox::{GrantSeen, SubscriptionSeen, Summary};

pub(super) fn unanswered(why: Refusal) -> Problem {
    problem(why.code(), why)
}

fn no_connection() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such connection")
}

pub(super) fn queried<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))
}

fn connection_id(text: &str) -> Result<ConnectionId, Problem> {
    text.parse().map_err(|e| problem(ErrorCode::BadRequest, e))
}

fn topic_name(text: &str) -> Result<TopicName, Problem> {
    text.parse().map_err(|e| problem(ErrorCode::InvalidTopic, e))
}

/// A connection at a glance, as the API tells it.
#[derive(Debug, Serialize)]
struct ConnectionBody<'a> {
    id: String,
    user: Option<&'a str>,
    address: Option<&'a str>,
    protocol: &'static str,
    worker: usize,
    age_s: u64,
    open: bool,
    subscriptions: usize,
    behind: usize,
    queued_bytes: usize,
    held_bytes: usize,
    blocked_ms: Option<u64>,
}

fn ms(length: Duration) -> u64 {
    length.as_millis() as u64
}

impl<'a> ConnectionBody<'a> {
    fn new(age: Duration, summary: &'a Summary) -> Self {
        let Summary { id, user, address, protocol, worker, is_open, subscriptions, behind, .. } = summary;
        Self {
            id: id.to_string(),
            user: user.as_deref(),
            address: address.as_deref(),
            protocol,
            worker: *worker,
            age_s: age.as_secs(),
            open: *is_open,
            subscriptions: *subscriptions,
            behind: *behind,
            queued_bytes: summary.queued_bytes,
            held_bytes: summary.held_bytes,
            blocked_ms: summary.blocked_for.map(ms),
        }
    }
}

#[derive(Debug, Serialize)]
struct ConnectionsBody<'a> {
    connections: Vec<ConnectionBody<'a>>,
    /// Asks for the next page; null after the last one.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsQuery {
    user: Option<String>,
    topic: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/connections`: WebSockets in the order in which they came, a page at a time.
pub(super) async fn connections(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<ConnectionsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let ConnectionsQuery { user, topic, limit, cursor } = queried(query)?;
    let topic = topic.as_deref().map(topic_name).transpose()?;
    let after = cursor.as_deref().map(connection_id).transpose()?;
    let page = control::list(&hub, Filter { user, topic }, after, limit).await.map_err(unanswered)?;
    let connections = page.connections.iter().map(|Found { age, seen, .. }| ConnectionBody::new(*age, seen));
    let cursor = page.cursor.map(|cursor| cursor.to_string());
    Ok(json(&ConnectionsBody { connections: connections.collect(), cursor }))
}

/// A subscription, as the API tells it.
#[derive(Debug, Serialize)]
struct SubscriptionBody<'a> {
    topic: &'a str,
    lag: u64,
    behind: bool,
    echo: bool,
    on_lag: &'static str,
}

impl<'a> From<&'a SubscriptionSeen> for SubscriptionBody<'a> {
    fn from(seen: &'a SubscriptionSeen) -> Self {
        let SubscriptionSeen { topic, lag, is_behind, echo, on_lag } = seen;
        let on_lag = match on_lag {
            OnLag::Disconnect => "disconnect",
            OnLag::Gap => "gap",
            OnLag::Latest => "latest",
        };
        Self { topic: topic.as_str(), lag: *lag, behind: *is_behind, echo: *echo, on_lag }
    }
}

/// What credentials allow, as the API tells it.
#[derive(Debug, Serialize)]
struct GrantBody<'a> {
    subscribe: &'a [String],
    publish: &'a [String],
}

/// A connection in full, as the API tells it.
#[derive(Debug, Serialize)]
struct DescriptionBody<'a> {
    #[serde(flatten)]
    connection: ConnectionBody<'a>,
    grant: GrantBody<'a>,
    topics: Vec<SubscriptionBody<'a>>,
    /// Asks for the next page of topics; null after the last one.
    cursor: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// `GET /v1/connections/{id}`: one in full, its topics a page at a time.
pub(super) async fn connection(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageQuery { limit, cursor } = queried(query)?;
    let found = control::describe(&hub, connection_id(&id)?, cursor, limit).await.map_err(unanswered)?;
    let Found { age, seen, .. } = found.ok_or_else(no_connection)?;
    let Description { summary, grant: GrantSeen { subscribe, publish }, subscriptions, cursor } = &seen;
    Ok(json(&DescriptionBody {
        connection: ConnectionBody::new(age, summary),
        grant: GrantBody { subscribe, publish },
        topics: subscriptions.iter().map(SubscriptionBody::from).collect(),
        cursor: cursor.as_ref().map(TopicName::as_str),
    }))
}

#[derive(Debug, Serialize)]
struct ClosedBody {
    closed: usize,
}

/// `DELETE /v1/connections/{id}`: closes one.
pub(super) async fn close(State(hub): State<Arc<Hub>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = connection_id(&id)?;
    if !control::close(&hub, id).await.map_err(unanswered)? {
        return Err(no_connection());
    }
    tracing::info!(connection = %id, "closed by an operator");
    Ok(json(&ClosedBody { closed: 1 }))
}

#[derive(Debug, Serialize)]
struct EndedBody<'a> {
    unsubscribed: &'a str,
}

/// `DELETE /v1/connections/{id}/subscriptions/{topic}`: ends a subscription.
pub(super) async fn end_subscription(
    State(hub): State<Arc<Hub>>,
    Path((id, topic)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (id, topic) = (connection_id(&id)?, topic_name(&topic)?);
    let ended = control::end_subscription(&hub, id, topic.clone()).await.map_err(unanswered)?;
    if !ended.ok_or_else(no_connection)? {
        let why = "the connection does not subscribe to that topic";
        return Err(Problem::new(StatusCode::NOT_FOUND, ErrorCode::NotSubscribed.as_str(), why));
    }
    tracing::info!(connection = %id, "a subscription was ended by an operator");
    Ok(json(&EndedBody { unsubscribed: topic.as_str() }))
}

/// A user, as the API tells it.
#[derive(Debug, Serialize)]
struct UserBody<'a> {
    user: &'a str,
    connections: usize,
    subscriptions: usize,
}

#[derive(Debug, Serialize)]
struct UsersBody<'a> {
    users: Vec<UserBody<'a>>,
    /// Asks for the next page; null after the last one.
    cursor: Option<&'a str>,
}

/// `GET /v1/users`: users that are connected, by name, a page at a time.
pub(super) async fn users(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageQuery { limit, cursor } = queried(query)?;
    let page = control::list_users(&hub, cursor, limit).await.map_err(unanswered)?;
    let users = page.users.iter().map(|(user, seen)| UserBody {
        user,
        connections: seen.connections,
        subscriptions: seen.subscriptions,
    });
    Ok(json(&UsersBody { users: users.collect(), cursor: page.cursor.as_deref() }))
}

/// `DELETE /v1/users/{user}/connections`: closes all of a user.
pub(super) async fn close_user(
    State(hub): State<Arc<Hub>>,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    let closed = control::close_user(&hub, user.clone()).await.map_err(unanswered)?;
    tracing::info!(user, closed, "connections of a user were closed by an operator");
    Ok(json(&ClosedBody { closed }))
}
