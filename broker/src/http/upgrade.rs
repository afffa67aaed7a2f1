//! From an HTTP request to a WebSocket (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use axum::response::Response;
use fanfare_protocol::{Codec, ErrorCode, OnLag, Subscribe, TopicName};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tungstenite::handshake::server::create_response_with_body;

use super::asker::Asker;
use super::credentials;
use super::problem::Problem;
use super::query::verbatim;
use super::request_context::RequestContext;
use super::topic_path::TopicPath;
use crate::access::Grant;
use crate::connection::request::{Client, Request as ConnectionRequest};
use crate::dialect::Dialect;

/// A WebSocket that is about to be: left in the response for whoever has the socket.
#[derive(Debug, Clone)]
pub(super) struct Upgrade(pub(super) ConnectionRequest);

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

/// The answer to a `GET` of [`Route::Native`] or [`Route::Raw`], whoever has read its head; one that switches protocols
/// brings an [`Upgrade`] with it.
pub(super) async fn answer(context: &RequestContext, request: &Request<()>) -> Result<Response, Problem> {
    let uri = request.uri();
    let of_path = uri.path().strip_prefix("/ws/");
    if of_path.is_some() || verbatim(uri, "topic")?.is_some() {
        let TopicPath(topic) = TopicPath::written(of_path, uri)?;
        open_raw(context, topic, request).await
    } else {
        open_native(context, request).await
    }
}

/// The same for the router.
pub(super) async fn route(
    State(context): State<RequestContext>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    answer(&context, &request.map(drop)).await
}

/// `/ws`: the native protocol, in the codec that the subprotocol names.
async fn open_native(context: &RequestContext, request: &Request<()>) -> Result<Response, Problem> {
    let query = read_query(request.uri())?;
    if query.history.is_some() || query.echo.is_some() || query.on_lag.is_some() {
        let why =
            "history, echo and on_lag go with a topic: /ws/{topic}; here they stand in a subscribe frame";
        return Err(Problem::of(ErrorCode::BadRequest, why));
    }
    let codec = offered_codec(request.headers());
    let dialect = Dialect::Native(codec.unwrap_or_default());
    let asked = |grant, client| ConnectionRequest { dialect, grant, begins_with: None, client };
    let mut response = upgrade(context, request, asked).await?;
    if let Some(codec) = codec {
        let name = HeaderValue::from_static(codec.subprotocol());
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok(response)
}

/// `/ws/{topic}`, or `/ws` with a topic in the query: payloads without an envelope.
async fn open_raw(
    context: &RequestContext,
    topic: TopicName,
    request: &Request<()>,
) -> Result<Response, Problem> {
    let query = read_query(request.uri())?;
    // All who are at a topic share its name.
    let found = context.hub.table.find(topic.as_str());
    let topic = found.map_or(topic, |found| found.name.clone());
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
    let begins_with = Some(subscribe);
    upgrade(context, request, |grant, client| ConnectionRequest { dialect, grant, begins_with, client }).await
}

/// What the query says, if all of it is understood.
fn read_query(uri: &Uri) -> Result<WebSocketQuery, Problem> {
    let Some(text) = uri.query() else { return Ok(WebSocketQuery::default()) };
    let bad = |why: String| Problem::of(ErrorCode::BadRequest, why);
    let Query(query) = Query::<WebSocketQuery>::try_from_uri(uri).map_err(|e| bad(e.body_text()))?;
    for (key, is_there) in [("topic", query.topic.is_some()), ("token", query.token.is_some())] {
        // A token without a value is none.
        let is_bare = text.split('&').any(|pair| pair == key) && key == "token";
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
    request: &Request<()>,
    asked: impl FnOnce(Option<Arc<Grant>>, Client) -> ConnectionRequest,
) -> Result<Response, Problem> {
    check_handshake(request.headers())?;
    if hub.is_draining() {
        return Err(Problem::of(ErrorCode::Unavailable, "the server is stopping"));
    }
    let token = verbatim(request.uri(), "token")?;
    // A page cannot see why a handshake failed, so bad credentials are told by a close code instead.
    let grant = credentials::of_websocket(hub, *worker, request.headers(), token.as_deref()).await?.ok();
    let asker: Asker = request.extensions().get().copied().unwrap_or_default();
    let client = asker.admit(hub, grant.as_deref())?;
    let mut response = create_response_with_body(request, Body::empty)
        .map_err(|e| Problem::of(ErrorCode::BadRequest, format!("no WebSocket handshake: {e}")))?;
    response.extensions_mut().insert(Upgrade(asked(grant, client)));
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
    if the_one(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("the WebSocket version is 13"));
    }
    let bad = |why| Err(Problem::of(ErrorCode::BadRequest, why));
    // 16 bytes in base64 (RFC 6455, section 4.1).
    let is_key = |key: &HeaderValue| key.len() == 24 && key.as_bytes().ends_with(b"==");
    if !the_one(headers, SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return bad("Sec-WebSocket-Key must be 16 bytes in base64, and said once");
    }
    // RFC 9110, section 7.8: all of a body comes before the switch. What of it comes later would be taken for frames, which
    // what stands in front of the broker has not seen as such.
    let is_length = |length: &HeaderValue| length != "0";
    if headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(is_length) {
        return bad("a request for a WebSocket has no body");
    }
    Ok(())
}

/// What the header says, if it is there once: two are two opinions (RFC 6455, section 11.3).
fn the_one(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
