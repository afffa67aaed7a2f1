//! Publishing over HTTP.

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use fanfare_protocol::{ErrorCode, Payload, TopicRef, check_message_id};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::api::{grant, json, problem};
use super::asker::Asker;
use super::batch::publish_batch;
use super::body;
use super::credentials;
use super::problem::Problem;
use super::publisher::Publisher;
use super::publishing::{PendingPublish, Published};
use super::query::verbatim;
use super::request_context::RequestContext;
use super::topic_path::TopicPath;
use crate::operation::publish::{self as operation, Content};
use crate::rate::kind::Kind;
use crate::workers::credit::Wants;

/// What a body's content type makes of it.
fn payload(headers: &HeaderMap, body: Bytes) -> Result<Payload, Problem> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    if !is_json && !media_type.starts_with("text/") {
        return Ok(Payload::binary(Vec::from(body)));
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
    State(RequestContext { hub, worker }): State<RequestContext>,
    TopicPath(topic): TopicPath,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let topic = TopicRef::from(&topic);
    let grant = grant(&hub, worker, &headers, asker).await?;
    // Whoever may not is told so before anything is read of it.
    operation::leave(&grant, &topic)?;
    asker.take(&hub, Kind::Publishes, Some(&grant))?;
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
    let message_size = hub.config().limits.message_size.as_u64() as usize;
    let body = body::read(&hub, &headers, body, message_size).await?;
    Publisher::new(&hub, worker, Wants::One).permitted(body.bytes.len()).await;
    let content = Content {
        payload: payload(&headers, body.bytes)?,
        message_id,
        headers: None,
        origin: None,
        received: body.received,
    };
    let grant = credentials::current(&hub, &grant)?;
    let leave = operation::leave(&grant, &topic)?;
    let accepted = PendingPublish::begin(&hub, worker, leave, content).end(&hub).await?;
    Ok(json(&Published::new(topic.as_str(), &accepted)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishQuery {
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
}

/// `POST /v1/messages`: a batch, or with `?topic=` the same as `POST /v1/topics/{topic}/messages`.
pub(super) async fn publish_or_batch(
    State(context): State<RequestContext>,
    topic: Result<TopicPath, Problem>,
    query: Result<Query<PublishQuery>, QueryRejection>,
    uri: Uri,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    query.map_err(|e| problem(ErrorCode::BadRequest, e.body_text()))?;
    match verbatim(&uri, "topic")? {
        Some(_) => publish(State(context), topic?, asker, headers, body).await,
        None => publish_batch(&context.hub, context.worker, asker, headers, body).await,
    }
}
