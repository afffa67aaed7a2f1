//! Many publications in one request, each with its own result.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use fanfare_protocol::limits::TOPIC_NAME_BYTES_MAX;
use fanfare_protocol::{ErrorCode, Headers, Payload, PayloadKind, PayloadRef, TopicRef, check_message_id};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::api::{grant, json, problem, topic_ref};
use super::asker::Asker;
use super::body;
use super::bounded::Bounded;
use super::credentials;
use super::problem::Problem;
use super::publisher::Publisher;
use super::publishing::{PendingPublish, Published};
use crate::access::Grant;
use crate::hub::Hub;
use crate::operation::Denied;
use crate::operation::publish::{self, Content, Leave};
use crate::rate::kind::Kind;
use crate::topic::Accepted;
use crate::workers::credit::Wants;

/// Messages of the largest size that fit in one batch.
const BATCH_FACTOR: usize = 16;
/// Publications of one batch: items times topics.
const BATCH_COUNT_MAX: usize = 1000;
/// Publications of a batch after which the worker's other connections have their turn.
const BATCH_TURN: usize = 16;
/// What one result of a batch is charged, more or less what it takes.
const RESULT_BYTES: usize = 512;

/// What the API tells of one publication of a batch.
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

/// A result of a batch, or the topic of a publication whose result is to be waited for.
enum PendingResult {
    Known(BatchResult),
    PendingPublish(String, PendingPublish),
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

/// Many publications, each with its own result.
pub(super) async fn publish_batch(
    hub: &Hub,
    worker: usize,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut grant = grant(hub, worker, &headers, asker).await?;
    publish::leave_at_all(&grant)?;
    let message_size = hub.config().limits.message_size.as_u64() as usize;
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
            results.push(PendingResult::Known(BatchResult::refused(problem, None)));
            break;
        }
        let (topics, payload, message_id, item_headers) = match item {
            Ok(item) => item,
            Err(problem) => {
                results.push(PendingResult::Known(BatchResult::refused(problem, None)));
                continue;
            }
        };
        for name in topics {
            let begun = async {
                let topic = topic_ref(&name)?;
                // What the credentials grant may have changed since the request began, ...
                current_leave(hub, &mut grant, &topic)?;
                asker.take(hub, Kind::Publishes, Some(&grant))?;
                publisher.permitted(payload.as_bytes().len()).await;
                // ... and while this one waited for its turn.
                let leave = current_leave(hub, &mut grant, &topic)?;
                let content = Content {
                    payload: payload.clone(),
                    message_id: message_id.as_deref().map(Into::into),
                    headers: item_headers.clone(),
                    origin: None,
                    received: body.received,
                };
                Ok(PendingPublish::begin(hub, worker, leave, content))
            };
            results.push(match begun.await {
                Ok(publishing) => PendingResult::PendingPublish(name, publishing),
                Err(problem) => PendingResult::Known(BatchResult::refused(problem, Some(name))),
            });
            if results.len().is_multiple_of(BATCH_TURN) {
                charge.set(results.len() * RESULT_BYTES);
                tokio::task::yield_now().await;
            }
        }
    }
    // What is left of its share is for others.
    drop(publisher);
    Ok(json(&BatchBody { results: ended(hub, results).await }))
}

/// The leave to publish to the topic by what the credentials of `grant` grant by now, which becomes it.
fn current_leave<'t>(
    hub: &Hub,
    grant: &mut Arc<Grant>,
    topic: &'t TopicRef<'t>,
) -> Result<Leave<'t>, Denied> {
    *grant = credentials::current(hub, grant)?;
    publish::leave(grant, topic)
}

/// The results, which are waited for when all are under way.
async fn ended(hub: &Hub, results: Vec<PendingResult>) -> Vec<BatchResult> {
    let mut known = Vec::with_capacity(results.len());
    for result in results {
        known.push(match result {
            PendingResult::Known(result) => result,
            PendingResult::PendingPublish(topic, publishing) => {
                BatchResult::published(publishing.end(hub).await, topic)
            }
        });
    }
    known
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse;

    use super::*;
    use crate::worker::tests::{use_up_credit, worker};

    #[tokio::test]
    async fn a_batch_is_not_even_read_before_it_is_its_turn() {
        let worker = worker();
        let publish = || {
            publish_batch(&worker.hub, 0, Asker::default(), HeaderMap::new(), Body::from("no batch at all"))
        };
        let refused = publish().await.expect_err("it is no batch").into_response();
        assert_eq!(refused.status(), 400);
        use_up_credit(worker.handle());
        let waiting = tokio::time::timeout(Duration::from_millis(100), publish()).await;
        assert!(waiting.is_err(), "what is wrong with it is not known yet: {waiting:?}");
    }
}
