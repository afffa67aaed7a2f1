//! The HTTP API: what topics keep, where they stand, and which there are.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use fanfare_protocol::{Codec, Epoch, ErrorCode, Offset, Position, TopicName, TopicRef};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::credentials;
use super::problem::Problem;
use super::question::{Asking, known};
use super::request_context::RequestContext;
use super::topic_path::TopicPath;
use crate::access::Grant;
use crate::dialect::native;
use crate::hub::Hub;
use crate::inbox::{Claim, Later};
use crate::operation::{Denied, list, read};
use crate::rate::kind::Kind;
use crate::topic::publication::Publication;

pub(super) fn problem(code: ErrorCode, detail: impl ToString) -> Problem {
    Problem::of(code, detail.to_string())
}

pub(super) fn topic_ref(name: &str) -> Result<TopicRef<'_>, Problem> {
    TopicRef::new(name).map_err(|e| problem(ErrorCode::InvalidTopic, e))
}

pub(super) async fn grant(
    hub: &Hub,
    worker: usize,
    headers: &HeaderMap,
    asker: Asker,
) -> Result<Arc<Grant>, Problem> {
    let grant = credentials::of_request(hub, worker, headers)
        .await?
        .map_err(|unknown| problem(ErrorCode::Unauthorized, unknown))?;
    asker.take(hub, Kind::Frames, Some(&grant))?;
    Ok(grant)
}

/// An answer that says `body` in JSON.
pub(super) fn json(body: &impl Serialize) -> Response {
    json_bytes(serde_json::to_vec(body).expect("an answer is plain data"))
}

pub(super) fn json_bytes(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Known here, and read with the path.
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    limit: Option<u64>,
    since_epoch: Option<String>,
    since_offset: Option<u64>,
}

/// `GET /v1/topics/{topic}/messages`: the history, as the native protocol's `history` reply.
pub(super) async fn history(
    State(RequestContext { hub, worker }): State<RequestContext>,
    TopicPath(topic): TopicPath,
    query: Result<Query<HistoryQuery>, QueryRejection>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let Query(query) = query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    let grant = grant(&hub, worker, &headers, asker).await?;
    let leave = read::history(&grant, &topic)?;
    asker.take(&hub, Kind::Subscribes, Some(&grant))?;
    let since = match (query.since_epoch, query.since_offset) {
        (None, None) => None,
        (Some(epoch), Some(offset)) => {
            let epoch =
                epoch.parse().map_err(|e| problem(ErrorCode::BadRequest, format!("since_epoch: {e}")))?;
            Some(Position { epoch, offset: Offset::new(offset) })
        }
        _ => return Err(problem(ErrorCode::BadRequest, "since_epoch and since_offset go together")),
    };
    let size = |publication: &Publication| native::size_in_history(Codec::Json, &topic, publication);
    let encoded = |later: Later<'_>| {
        let kept = leave.history(&hub, since, query.limit, size, later);
        kept.map(|kept| {
            let mut body = Vec::new();
            Codec::Json.encode_server(&native::history(None, &topic, &kept?), &mut body);
            Ok::<_, Denied>(body)
        })
    };
    let handle = &hub.workers[worker];
    let mut asking = Asking::new(Claim::Admitted, &handle.inbox);
    let body = loop {
        // Its time begins when it is asked, not while it stands in line.
        let ask = || {
            let question = asking.question();
            let answer = encoded(&|| question.promise());
            question.answered(answer)
        };
        match handle.long_work(ask).await {
            Ok(body) => break body?,
            Err(pending) => asking.again(pending.answer().await)?,
        }
    };
    Ok(json_bytes(body))
}

/// `GET /v1/topics/{topic}`: where the topic stands; a page can be made with this position and then
/// subscribe from it.
pub(super) async fn topic(
    State(RequestContext { hub, worker }): State<RequestContext>,
    TopicPath(topic): TopicPath,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let grant = grant(&hub, worker, &headers, asker).await?;
    let leave = read::position(&grant, &topic)?;
    let inbox = &hub.workers[worker].inbox;
    let (position, subscribers) =
        known(Claim::Admitted, inbox, |later| leave.position(&hub, later)).await??;
    Ok(json(&TopicBody::new(topic.as_str(), position, subscribers)))
}

/// A topic's position and how many subscriptions it has, as the API tells them.
#[derive(Debug, Serialize)]
struct TopicBody<'a> {
    topic: &'a str,
    epoch: Epoch,
    offset: Offset,
    subscribers: usize,
}

impl<'a> TopicBody<'a> {
    fn new(topic: &'a str, position: Position, subscribers: usize) -> Self {
        let Position { epoch, offset } = position;
        Self { topic, epoch, offset, subscribers }
    }
}

/// A page of topics, as the API tells it.
#[derive(Debug, Serialize)]
struct TopicsBody<'a> {
    topics: Vec<TopicBody<'a>>,
    /// Asks for the next page; null after the last one.
    cursor: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/topics`: the topics by name, a page at a time.
pub(super) async fn list_topics(
    State(RequestContext { hub, worker }): State<RequestContext>,
    query: Result<Query<ListQuery>, QueryRejection>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    let grant = grant(&hub, worker, &headers, asker).await?;
    let page = list::leave(&grant, &query.prefix).page(&hub, query.cursor.as_deref(), query.limit).await;
    let topics = page.topics.iter().map(|t| TopicBody::new(t.name.as_str(), t.position, t.subscriptions));
    let cursor = page.cursor.as_ref().map(TopicName::as_str);
    Ok(json(&TopicsBody { topics: topics.collect(), cursor }))
}
