//! The HTTP API: publish, history, topics.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use fanfare_protocol::limits::TOPIC_NAME_BYTES_MAX;
use fanfare_protocol::{
    Codec, Epoch, ErrorCode, Headers, Offset, Payload, PayloadKind, PayloadRef, Position, ServerFrame,
    TopicRef, check_message_id,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bounded::Bounded;
use super::problem::Problem;
use super::publisher::Publisher;
use super::query::verbatim;
use super::question::{Question, ask_again, known};
use super::served::Served;
use super::topic_path::TopicPath;
use super::{body, credentials};
use crate::access::Grant;
use crate::answer::inbox::Later;
use crate::answer::inbox::Pending;
use crate::hub::Hub;
use crate::metrics::{Asked, Source};
use crate::operation::publish::{Content, Leave};
use crate::operation::read::{HISTORY_BYTES_MAX, HISTORY_COUNT_MAX};
use crate::operation::{Denied, publish as publishing, read};
use crate::topic::Accepted;
use crate::topic::publication::Publication;
use crate::worker::credit::Wants;

/// A batch may be so many times as large as one message.
const BATCH_FACTOR: usize = 16;
/// Publications of one batch: items times topics.
const BATCH_COUNT_MAX: usize = 1000;
/// Publications of a batch after which the worker's other connections have their turn.
const BATCH_TURN: usize = 16;
/// What one result of a batch is charged, more or less what it takes.
const RESULT_BYTES: usize = 512;
/// Topics of one page of a listing.
const TOPICS_PAGE_MAX: usize = 1000;
const TOPICS_PAGE_DEFAULT: usize = 100;
/// Topics of a page after which the worker's other connections have their turn.
const TOPICS_TURN: usize = 256;

fn problem(code: ErrorCode, detail: impl ToString) -> Problem {
    Problem::of(code, detail.to_string())
}

fn topic_ref(name: &str) -> Result<TopicRef<'_>, Problem> {
    TopicRef::new(name).map_err(|e| problem(ErrorCode::InvalidTopic, e))
}

async fn grant(hub: &Hub, worker: usize, headers: &HeaderMap) -> Result<Arc<Grant>, Problem> {
    credentials::grant(hub, worker, headers, None)
        .await?
        .map_err(|unknown| problem(ErrorCode::Unauthorized, unknown))
}

/// An answer in JSON.
fn json(body: &impl Serialize) -> Response {
    json_bytes(serde_json::to_vec(body).expect("an answer is plain data"))
}

fn json_bytes(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What a body's content type makes of it.
fn payload(headers: &HeaderMap, body: Bytes) -> Result<Payload, Problem> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    if !is_json && !media_type.starts_with("text/") {
        return Ok(Payload::binary(body));
    }
    let text = std::str::from_utf8(&body)
        .map_err(|e| problem(ErrorCode::BadRequest, format!("the body is not UTF-8: {e}")))?;
    if is_json {
        Payload::json(text).map_err(|e| problem(ErrorCode::BadRequest, format!("the body is {e}")))
    } else {
        Ok(Payload::text(text))
    }
}

/// `POST /v1/topics/{topic}/messages`: the body is the payload.
pub(super) async fn publish(
    State(Served { hub, worker }): State<Served>,
    TopicPath(topic): TopicPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let grant = grant(&hub, worker, &headers).await?;
    let leave = publishing::leave(&grant, topic.as_str())?;
    let message_id = match headers.get("idempotency-key") {
        None => None,
        Some(key) => {
            let key =
                key.to_str().map_err(|_| problem(ErrorCode::BadRequest, "Idempotency-Key must be ASCII"))?;
            check_message_id(key)
                .map_err(|e| problem(ErrorCode::BadRequest, format!("Idempotency-Key: {e}")))?;
            Some(key.into())
        }
    };
    let body = body::read(&hub, &headers, body, hub.config.limits.message_size.as_u64() as usize).await?;
    Publisher::new(&hub, worker, Wants::One).permitted(body.bytes.len()).await;
    let content = Content {
        payload: payload(&headers, body.bytes)?,
        message_id,
        headers: None,
        origin: None,
        received: body.received,
    };
    let accepted = Publishing::begin(&hub, worker, leave, &topic, content).end(&hub).await?;
    Ok(json(&Published::new(topic.as_str(), &accepted)))
}

/// What a publication has become.
#[derive(Debug, Serialize)]
struct Published<'a> {
    topic: Cow<'a, str>,
    epoch: Epoch,
    offset: Offset,
    duplicate: bool,
}

impl<'a> Published<'a> {
    fn new(topic: impl Into<Cow<'a, str>>, accepted: &Accepted) -> Self {
        let Position { epoch, offset } = accepted.position;
        Self { topic: topic.into(), epoch, offset, duplicate: accepted.is_duplicate }
    }
}

/// A publication that has been handed over, and may be answered later.
struct Publishing {
    asked: Asked,
    answer: Result<Result<Accepted, Denied>, Pending>,
}

impl Publishing {
    fn begin(hub: &Hub, worker: usize, leave: Leave, topic: &TopicRef<'_>, content: Content) -> Self {
        let question = Question::new(&hub.workers[worker].inbox);
        let (asked, answer) = leave.publish(hub, topic, content, Source::Http, &|| question.promise());
        Self { asked, answer: question.answered(answer) }
    }

    /// What has become of it.
    async fn end(self, hub: &Hub) -> Result<Accepted, Problem> {
        Ok(match self.answer {
            Ok(known) => known?,
            Err(pending) => publishing::settled(hub, self.asked, pending.answer().await)?,
        })
    }
}

/// One result of a batch.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum BatchResult {
    Published(Published<'static>),
    Refused {
        #[serde(flatten)]
        problem: Problem,
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
    },
}

impl BatchResult {
    /// A result that says the topic as it was written, if it is not too long to repeat.
    fn refused(problem: Problem, topic: Option<String>) -> Self {
        Self::Refused { problem, topic: topic.filter(|name| name.len() <= TOPIC_NAME_BYTES_MAX) }
    }

    fn published(result: Result<Accepted, Problem>, topic: String) -> Self {
        match result {
            Ok(accepted) => Self::Published(Published::new(topic, &accepted)),
            Err(problem) => Self::refused(problem, Some(topic)),
        }
    }
}

/// A result of a batch, or the topic and what is to be waited for.
enum Outstanding {
    Known(BatchResult),
    Publishing(String, Publishing),
}

#[derive(Debug, Serialize)]
struct BatchBody {
    results: Vec<BatchResult>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Bounded<&'a RawValue, BATCH_COUNT_MAX>,
}

/// One item of a batch: to one topic or to several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    topic: Option<String>,
    topics: Option<Bounded<String, BATCH_COUNT_MAX>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    kind: Option<String>,
    message_id: Option<String>,
    headers: Option<Headers>,
}

/// Tells a `null` that is there, which is a payload like any other, from nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishQuery {
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
}

/// `POST /v1/messages`: a batch, or with `?topic=` the same as `POST /v1/topics/{topic}/messages`.
pub(super) async fn publish_or_batch(
    State(served): State<Served>,
    topic: Result<TopicPath, Problem>,
    query: Result<Query<PublishQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    match verbatim(&uri, "topic")? {
        Some(_) => publish(State(served), topic?, headers, body).await,
        None => publish_batch(&served.hub, served.worker, headers, body).await,
    }
}

/// Many publications, each with its own result.
async fn publish_batch(
    hub: &Hub,
    worker: usize,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let grant = grant(hub, worker, &headers).await?;
    publishing::leave_at_all(&grant)?;
    let message_size = hub.config.limits.message_size.as_u64() as usize;
    let body = body::read(hub, &headers, body, BATCH_FACTOR * message_size).await?;
    // Reading it is work in one piece, however many batches are whole at the same moment: they take turns.
    let mut publisher = Publisher::new(hub, worker, Wants::Many);
    publisher.permitted(body.bytes.len()).await;
    let batch: Batch<'_> = serde_json::from_slice(&body.bytes)
        .map_err(|e| problem(ErrorCode::BadRequest, format!("{{\"messages\":[...]}} is expected: {e}")))?;
    let charge = hub.in_flight.charge(0);
    let mut results = Vec::new();
    for raw in batch.messages.0 {
        let item = read_item(raw, message_size);
        // An item that is refused counts as well: each has a result.
        let count = item.as_ref().map_or(1, |(topics, ..)| topics.len());
        if results.len() + count > BATCH_COUNT_MAX {
            let message = format!(
                "a batch may hold at most {BATCH_COUNT_MAX} publications; those before are published"
            );
            let problem = problem(ErrorCode::LimitExceeded, message);
            results.push(Outstanding::Known(BatchResult::refused(problem, None)));
            break;
        }
        let (topics, payload, message_id, item_headers) = match item {
            Ok(item) => item,
            Err(problem) => {
                results.push(Outstanding::Known(BatchResult::refused(problem, None)));
                continue;
            }
        };
        for name in topics {
            let result = match may_publish(&grant, &name) {
                Err(problem) => Outstanding::Known(BatchResult::refused(problem, Some(name))),
                Ok((topic, leave)) => {
                    publisher.permitted(payload.as_bytes().len()).await;
                    let content = Content {
                        payload: payload.clone(),
                        message_id: message_id.as_deref().map(Into::into),
                        headers: item_headers.clone(),
                        origin: None,
                        received: body.received,
                    };
                    let publishing = Publishing::begin(hub, worker, leave, &topic, content);
                    Outstanding::Publishing(name, publishing)
                }
            };
            results.push(result);
            if results.len().is_multiple_of(BATCH_TURN) {
                charge.set(results.len() * RESULT_BYTES);
                tokio::task::yield_now().await;
            }
        }
    }
    // All are under way before the first is waited for.
    let mut known = Vec::with_capacity(results.len());
    for result in results {
        known.push(match result {
            Outstanding::Known(result) => result,
            Outstanding::Publishing(topic, publishing) => {
                BatchResult::published(publishing.end(hub).await, topic)
            }
        });
    }
    Ok(json(&BatchBody { results: known }))
}

fn may_publish<'a>(grant: &Grant, name: &'a str) -> Result<(TopicRef<'a>, Leave), Problem> {
    let topic = topic_ref(name)?;
    let leave = publishing::leave(grant, topic.as_str())?;
    Ok((topic, leave))
}

type ReadItem = (Vec<String>, Payload, Option<String>, Option<Headers>);

fn read_item(raw: &RawValue, limit: usize) -> Result<ReadItem, Problem> {
    let bad = |message: String| problem(ErrorCode::BadRequest, message);
    let item: Item<'_> =
        serde_json::from_str(raw.get()).map_err(|e| bad(format!("an item of messages: {e}")))?;
    let topics = match (item.topic, item.topics) {
        (Some(topic), None) => vec![topic],
        (None, Some(Bounded(topics))) if !topics.is_empty() => topics,
        _ => return Err(bad("an item needs either \"topic\" or \"topics\"".into())),
    };
    let kind = match item.kind.as_deref() {
        None | Some("json") => PayloadKind::Json,
        Some("text") => PayloadKind::Text,
        Some("binary") => PayloadKind::Binary,
        Some(_) => return Err(bad("\"kind\" is expected to be \"json\", \"text\" or \"binary\"".into())),
    };
    let data = item.data.ok_or_else(|| bad("\"data\" is missing".into()))?;
    let payload =
        PayloadRef::from_json_field(kind, data).map_err(|e| bad(format!("\"data\": {e}")))?.into_owned();
    if payload.as_bytes().len() > limit {
        return Err(problem(ErrorCode::TooLarge, format!("a payload may have at most {limit} bytes")));
    }
    if let Some(id) = &item.message_id {
        check_message_id(id).map_err(bad)?;
    }
    Ok((topics, payload, item.message_id, item.headers))
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
    let body = loop {
        let question = Question::new(&handle.inbox);
        let answer = handle.long_work(|| encoded(&|| question.promise())).await;
        match question.answered(answer) {
            Ok(body) => break body?,
            Err(pending) => ask_again(pending.answer().await)?,
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
    let (position, subscribers) = known(inbox, |later| leave.position(&hub, later)).await??;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse;

    use super::*;
    use crate::worker::tests::{use_up_credit, worker};

    #[tokio::test]
    async fn a_batch_is_not_even_read_before_it_is_its_turn() {
        let worker = worker();
        let publish = || publish_batch(&worker.hub, 0, HeaderMap::new(), Body::from("no batch at all"));
        let refused = publish().await.expect_err("it is no batch").into_response();
        assert_eq!(refused.status(), 400);
        use_up_credit(worker.handle());
        let waiting = tokio::time::timeout(Duration::from_millis(100), publish()).await;
        assert!(waiting.is_err(), "what is wrong with it is not known yet: {waiting:?}");
    }
}
