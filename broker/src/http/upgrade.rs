//! From an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use fanfare_protocol::{Codec, ErrorCode, OnLag, Subscribe, TopicName};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tungstenite::handshake::server::create_response_with_body;

use super::credentials;
use super::problem::Problem;
use super::query::verbatim;
use super::request_context::RequestContext;
use super::topic_path::TopicPath;
use crate::connection::request::Request as ConnectionRequest;
use crate::dialect::Dialect;

/// A WebSocket that is about to be: left in the response for the worker to find.
#[derive(Debug, Clone)]
pub(super) struct Upgrade {
    pub(super) on_upgrade: OnUpgrade,
    pub(super) request: ConnectionRequest,
}

/// What the query of a WebSocket may say.
#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebSocketQuery {
    /// Read verbatim, as is the token.
    topic: Option<IgnoredAny>,
    token: Option<IgnoredAny>,
    history: Option<u64>,
    echo: Option<bool>,
    on_lag: Option<String>,
}

/// `GET /ws`: the native protocol, in the codec that the subprotocol names; with a topic in the query the
/// same as `/ws/{topic}`.
pub(super) async fn native(
    State(context): State<RequestContext>,
    topic: Result<TopicPath, Problem>,
    query: Result<Query<WebSocketQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    if verbatim(request.uri(), "topic")?.is_some() {
        return open_raw(&context, topic?.0, query, request).await;
    }
    let query = read_query(query, request.uri())?;
    if query.history.is_some() || query.echo.is_some() || query.on_lag.is_some() {
        let why =
            "history, echo and on_lag go with a topic: /ws/{topic}; here they stand in a subscribe frame";
        return Err(Problem::of(ErrorCode::BadRequest, why));
    }
    let codec = offered_codec(request.headers());
    let dialect = Dialect::Native(codec.unwrap_or_default());
    let mut response =
        upgrade(&context, request, |grant| ConnectionRequest { dialect, grant, begins_with: None }).await?;
    if let Some(codec) = codec {
        let name = HeaderValue::from_static(codec.subprotocol());
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok(response)
}

/// `GET /ws/{topic}`: payloads without an envelope.
pub(super) async fn raw(
    State(context): State<RequestContext>,
    TopicPath(topic): TopicPath,
    query: Result<Query<WebSocketQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    open_raw(&context, topic, query, request).await
}

async fn open_raw(
    context: &RequestContext,
    topic: TopicName,
    query: Result<Query<WebSocketQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let query = read_query(query, request.uri())?;
    let dialect = Dialect::Raw(topic.clone());
    let mut subscribe = Subscribe::new(topic.into());
    subscribe.history = query.history;
    subscribe.echo = query.echo.unwrap_or(true);
    if let Some(on_lag) = query.on_lag {
        let known = OnLag::parse(&on_lag).filter(|&asked| dialect.on_lag(asked) == asked);
        subscribe.on_lag = known.ok_or_else(|| {
            Problem::of(ErrorCode::BadRequest, "on_lag is \"disconnect\" or \"latest\" here")
        })?;
    }
    upgrade(context, request, |grant| ConnectionRequest { dialect, grant, begins_with: Some(subscribe) })
        .await
}

/// What the query says, if all of it is understood.
fn read_query(
    query: Result<Query<WebSocketQuery>, QueryRejection>,
    uri: &Uri,
) -> Result<WebSocketQuery, Problem> {
    let bad = |why: String| Problem::of(ErrorCode::BadRequest, why);
    let Query(query) = query.map_err(|e| bad(e.body_text()))?;
    for (key, is_there) in [("topic", query.topic.is_some()), ("token", query.token.is_some())] {
        // A token without a value is none.
        let is_bare = uri.query().unwrap_or_default().split('&').any(|pair| pair == key) && key == "token";
        if is_there && !is_bare && verbatim(uri, key)?.is_none() {
            return Err(bad(format!("{key} is written as it stands here, with = and its value")));
        }
    }
    Ok(query)
}

/// The first of the offered subprotocols that is known.
fn offered_codec(headers: &HeaderMap) -> Option<Codec> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut names = offers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.find_map(|name| Codec::from_subprotocol(name.trim()))
}

async fn upgrade(
    RequestContext { hub, worker }: &RequestContext,
    mut request: Request,
    asked: impl FnOnce(Option<Arc<crate::access::Grant>>) -> ConnectionRequest,
) -> Result<Response, Problem> {
    check_handshake(request.headers())?;
    if hub.is_draining() {
        return Err(Problem::of(ErrorCode::Unavailable, "the server is stopping"));
    }
    let token = verbatim(request.uri(), "token")?;
    // A page cannot see why a handshake failed, so bad credentials are told by a close code instead.
    let grant = credentials::grant(hub, *worker, request.headers(), token.as_deref()).await?.ok();
    let on_upgrade = hyper::upgrade::on(&mut request);
    let response = create_response_with_body(&request, Body::empty)
        .map_err(|e| Problem::of(ErrorCode::BadRequest, format!("no WebSocket handshake: {e}")))?;
    let mut response = response.into_response();
    response.extensions_mut().insert(Upgrade { on_upgrade, request: asked(grant) });
    Ok(response)
}

/// What tungstenite's own check leaves out or answers less helpfully.
fn check_handshake(headers: &HeaderMap) -> Result<(), Problem> {
    let says = |name, word: &str| {
        let values = headers.get_all(name);
        let mut words = values.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    // RFC 9110, section 15.5.22: it says to what, always.
    let upgrade_required = |detail: &str| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "bad_request", detail)
            .with_header(UPGRADE, "websocket")
            .with_header(CONNECTION, "Upgrade")
            .with_header(SEC_WEBSOCKET_VERSION, "13")
    };
    if !says(UPGRADE, "websocket") || !says(CONNECTION, "upgrade") {
        return Err(upgrade_required("this is a WebSocket: connect with ws:// or wss://"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("the WebSocket version is 13"));
    }
    // 16 bytes in base64 (RFC 6455, section 4.1).
    let is_key = |key: &HeaderValue| key.len() == 24 && key.as_bytes().ends_with(b"==");
    if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(Problem::of(ErrorCode::BadRequest, "Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    Ok(())
}
