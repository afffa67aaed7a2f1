//! The HTTP API: history, topics.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use fanfare_protocol::{Codec, Epoch, ErrorCode, Offset, Position, ServerFrame, TopicRef};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::credentials;
use super::problem::Problem;
use super::question::{Asking, known};
use super::served::Served;
use super::topic_path::TopicPath;
use crate::access::Grant;
use crate::hub::Hub;
use crate::inbox::{Claim, Later};
use crate::operation::read::{HISTORY_BYTES_MAX, HISTORY_COUNT_MAX};
use crate::operation::{Denied, read};
use crate::topic::publication::Publication;

/// Topics of one page of a listing.
const TOPICS_PAGE_MAX: usize = 1000;
const TOPICS_PAGE_DEFAULT: usize = 100;
/// Topics of a page after which the worker's other connections have their turn.
const TOPICS_TURN: usize = 256;

pub(super) fn problem(code: ErrorCode, detail: impl ToString) -> Problem {
    Problem::of(code, detail.to_string())
}

pub(super) fn topic_ref(name: &str) -> Result<TopicRef<'_>, Problem> {
    TopicRef::new(name).map_err(|e| problem(ErrorCode::InvalidTopic, e))
}

pub(super) async fn grant(hub: &Hub, worker: usize, headers: &HeaderMap) -> Result<Arc<Grant>, Problem> {
    credentials::grant(hub, worker, headers, None)
        .await?
        .map_err(|unknown| problem(ErrorCode::Unauthorized, unknown))
}

/// An answer in JSON.
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
    /// Read with the path.
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    limit: Option<usize>,
    since_epoch: Option<String>,
    since_offset: Option<u64>,
}

/// `GET /v1/topics/{topic}/messages`: the history, as the native protocol's `history` reply.
pub(super) async fn history(
    State(Served { hub, worker }): State<Served>,
    TopicPath(topic): TopicPath,
    query: Result<Query<HistoryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let Query(query) = query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    let grant = grant(&hub, worker, &headers).await?;
    let leave = read::leave(&grant, &topic)?;
    let since = match (query.since_epoch, query.since_offset) {
        (None, None) => None,
        (Some(epoch), Some(offset)) => {
            let epoch =
                epoch.parse().map_err(|e| problem(ErrorCode::BadRequest, format!("since_epoch: {e}")))?;
            Some(Position { epoch, offset: Offset::new(offset) })
        }
        _ => return Err(problem(ErrorCode::BadRequest, "since_epoch and since_offset go together")),
    };
    let limit = query.limit.unwrap_or(HISTORY_COUNT_MAX).min(HISTORY_COUNT_MAX);
    let size = |p: &Publication| Codec::Json.message_len_max(&p.message());
    let encoded = |later: Later<'_>| {
        let kept = leave.history(&hub, since, limit, HISTORY_BYTES_MAX, size, later);
        kept.map(|kept| {
            let (head, publications) = kept?;
            let frame = ServerFrame::History {
                id: None,
                topic: topic.clone(),
                epoch: head.epoch,
                offset: head.offset,
                messages: publications.iter().map(|publication| publication.message()).collect(),
            };
            let mut body = Vec::new();
            Codec::Json.encode_server(&frame, &mut body);
            Ok::<_, Denied>(body)
        })
    };
    let handle = &hub.workers[worker];
    let asking = Asking::new(Claim::Admitted, &handle.inbox);
    let body = loop {
        let question = asking.question();
        let answer = handle.long_work(|| encoded(&|| question.promise())).await;
        match question.answered(answer) {
            Ok(body) => break body?,
            Err(pending) => asking.again(pending.answer().await)?,
        }
    };
    Ok(json_bytes(body))
}

/// `GET /v1/topics/{topic}`: where the topic stands; a page can be made with this position and then
/// subscribe from it.
pub(super) async fn topic(
    State(Served { hub, worker }): State<Served>,
    TopicPath(topic): TopicPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let grant = grant(&hub, worker, &headers).await?;
    let leave = read::leave(&grant, &topic)?;
    let inbox = &hub.workers[worker].inbox;
    let (position, subscribers) =
        known(Claim::Admitted, inbox, |later| leave.position(&hub, later)).await??;
    Ok(json(&TopicBody::new(topic.as_str(), position, subscribers)))
}

/// Where a topic stands.
#[derive(Debug, Serialize)]
struct TopicBody {
    topic: String,
    epoch: Epoch,
    offset: Offset,
    subscribers: usize,
}

impl TopicBody {
    fn new(topic: &str, position: Position, subscribers: usize) -> Self {
        let Position { epoch, offset } = position;
        Self { topic: topic.to_owned(), epoch, offset, subscribers }
    }
}

/// A page of topics.
#[derive(Debug, Serialize)]
struct TopicsBody {
    topics: Vec<TopicBody>,
    /// Asks for the next page; null after the last one.
    cursor: Option<String>,
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
    State(Served { hub, worker }): State<Served>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    let grant = grant(&hub, worker, &headers).await?;
    let limit = query.limit.unwrap_or(TOPICS_PAGE_DEFAULT).clamp(1, TOPICS_PAGE_MAX);
    // What may not be subscribed to is not told of either, nor looked for.
    let page = hub.table.list(&grant.names(&query.prefix), query.cursor.as_deref(), limit).await;
    let mut topics = Vec::with_capacity(page.topics.len());
    for some in page.topics.chunks(TOPICS_TURN) {
        let described = some.iter().map(|t| TopicBody::new(t.name.as_str(), t.position(), t.subscriptions()));
        topics.extend(described);
        tokio::task::yield_now().await;
    }
    let cursor = page.cursor.map(|name| name.to_string());
    Ok(json(&TopicsBody { topics, cursor }))
}
