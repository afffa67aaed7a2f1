//! Making one connection: token, TCP, TLS, WebSocket, `connect`.

use std::time::{Duration, SystemTime};

use fanfare_protocol::{ClientFrame, ClientOp, ErrorCode, ErrorFrame, RequestId, ServerFrame, Token};
use tokio_tungstenite::tungstenite::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::http::header::{DATE, RETRY_AFTER};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::either::Either;

use super::endpoint::Endpoint;
use super::heard::Heard;
use super::options::DialOptions;
use super::proxy::tunnel;
use super::reach::reach;
use super::tls;
use super::wire::{Lost, Wire};
use crate::failure::{Failure, FailureKind};
use crate::state::{CloseReason, ConnectionInfo};

/// Read at a time, in bytes. Kept for the life of the connection, so not larger than it is worth.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Written together at most, in bytes, unless one message is larger.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// Largest WebSocket message taken from a broker, in bytes.
const RECEIVED_BYTES_MAX: usize = 64 << 20;

/// The longest that a client stays away because it was told to.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Longest ping interval believed.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// What the broker said of the new connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) info: ConnectionInfo,
    pub(crate) ping_interval: Duration,
    /// The largest WebSocket message that it takes, in bytes, where it says so.
    pub(crate) message_size: Option<usize>,
    /// When the credentials expire, in Unix milliseconds.
    pub(crate) expires_at: Option<u64>,
    /// What time it was where the broker is, when it let the client in.
    pub(crate) date: SystemTime,
}

/// What kept a connection from being made, or ended it, for now.
#[derive(Debug)]
pub(crate) struct Setback {
    pub(crate) why: Failure,
    /// How long to stay away at least, where the other side said so.
    pub(crate) retry_after: Option<Duration>,
}

impl From<Failure> for Setback {
    fn from(why: Failure) -> Self {
        Self { why, retry_after: None }
    }
}

/// Why a try failed.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Another try would fail as well.
    Final(CloseReason),
    /// Another try may succeed.
    Passing(Setback),
    /// The credentials were refused; fresh ones may do.
    Unauthorized(String),
}

impl From<Failure> for DialError {
    fn from(failure: Failure) -> Self {
        Self::Passing(failure.into())
    }
}

impl From<Lost> for DialError {
    fn from(lost: Lost) -> Self {
        match lost.final_reason() {
            None => Self::Passing(lost.into_failure().into()),
            Some(_) if lost.is_unauthorized() => Self::Unauthorized(lost.to_string()),
            Some(reason) => Self::Final(reason),
        }
    }
}

/// Makes a connection, within the time that one try may take.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    options: &DialOptions,
    was_connected: bool,
) -> Result<(Wire, Connected), DialError> {
    let dialling = try_dial(endpoint, options, was_connected);
    match tokio::time::timeout(options.attempt_timeout, dialling).await {
        Ok(result) => result,
        Err(_) => {
            let why = format!("not connected within {:?}", options.attempt_timeout);
            Err(Failure::new(FailureKind::TimedOut, why).into())
        }
    }
}

async fn try_dial(
    endpoint: &Endpoint,
    options: &DialOptions,
    was_connected: bool,
) -> Result<(Wire, Connected), DialError> {
    let token = options.token.get().await.map_err(|e| Failure::caused(FailureKind::Token, "no token", e))?;
    let tcp = match options.proxies.on_the_way(endpoint) {
        Some(proxy) => tunnel(&proxy, endpoint).await?,
        None => reach(&endpoint.host, endpoint.port).await?,
    };
    let stream = if endpoint.tls {
        let secured = tls::secure(tcp, &endpoint.host, options.trust.clone()).await;
        let at = format!("TLS with {}:{}", endpoint.host, endpoint.port);
        Either::Right(secured.map_err(|e| Failure::caused(FailureKind::Tls, at, e))?)
    } else {
        Either::Left(tcp)
    };
    let request = ClientRequestBuilder::new(endpoint.uri.clone())
        .with_sub_protocol(options.codec.subprotocol())
        .into_client_request();
    let mut request =
        request.map_err(|e| Failure::caused(FailureKind::Handshake, "the handshake cannot be written", e))?;
    request.headers_mut().extend(endpoint.headers.clone());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(RECEIVED_BYTES_MAX))
        .max_frame_size(Some(RECEIVED_BYTES_MAX));
    let shaken = tokio_tungstenite::client_async_with_config(request, Heard::new(stream), Some(config)).await;
    let (socket, response) = shaken.map_err(|e| refused(e, options, was_connected))?;
    let date = date(&response).unwrap_or_else(SystemTime::now);
    introduce(Wire::new(socket, options.codec), token, options, date).await
}

/// The WebSocket handshake failed. What cannot be right at the first try ends it; a client that `was_connected`
/// outlives whatever stands in between for a while, and fresh credentials may change what they changed.
fn refused(error: WebSocketError, options: &DialOptions, was_connected: bool) -> DialError {
    let response = match error {
        WebSocketError::Http(response) => response,
        error => return Failure::caused(FailureKind::Handshake, "the handshake failed", error).into(),
    };
    let status = response.status().as_u16();
    let why = format!("the handshake was answered with HTTP {status}");
    match status {
        // The broker itself says so once the handshake is over. Later this is some other's word, and may pass.
        401 | 403 if options.token.can_change() && !was_connected => DialError::Unauthorized(why),
        // All but a timeout, too early, too many requests.
        300..=499 if !was_connected && !matches!(status, 408 | 425 | 429) => {
            DialError::Final(CloseReason::Handshake { status })
        }
        _ => {
            let why = Failure::new(FailureKind::Handshake, why);
            DialError::Passing(Setback { why, retry_after: retry_after(&response) })
        }
    }
}

/// What `Retry-After` asks for: a number of seconds, or a date by the clock of whoever answers.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            until.duration_since(date(response).unwrap_or_else(SystemTime::now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// What time it is where the broker is.
fn date<B>(response: &Response<B>) -> Option<SystemTime> {
    httpdate::parse_http_date(response.headers().get(DATE)?.to_str().ok()?).ok()
}

/// Says who the client is and waits for the broker's word.
async fn introduce(
    mut wire: Wire,
    token: Option<String>,
    options: &DialOptions,
    date: SystemTime,
) -> Result<(Wire, Connected), DialError> {
    let connect = ClientOp::Connect {
        token: token.map(Token::new),
        name: options.name.as_deref().map(Into::into),
        version: options.version.as_deref().map(Into::into),
    };
    // The session's ids begin anew; this one is answered before any of them is used.
    let id = RequestId::new(1);
    wire.send(&ClientFrame { id, op: connect }).await?;
    let mut answer = None;
    while answer.is_none() {
        wire.receive(|frame| match frame {
            ServerFrame::Connected {
                connection,
                user,
                server,
                ping_interval_ms,
                message_size,
                expires_at,
                ..
            } => {
                let info = ConnectionInfo {
                    connection: connection.into_owned(),
                    user: user.map(Into::into),
                    server: server.into_owned(),
                };
                let ping_interval = Duration::from_millis(ping_interval_ms).min(PING_INTERVAL_MAX);
                let message_size = message_size.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                answer = Some(Ok(Connected { info, ping_interval, message_size, expires_at, date }));
            }
            ServerFrame::Error(error) => answer = Some(Err(not_connected(&error))),
            _ => {}
        })
        .await?;
    }
    let connected = answer.expect("the loop ends with an answer")?;
    Ok((wire, connected))
}

fn not_connected(error: &ErrorFrame<'_>) -> DialError {
    let message = error.message.to_string();
    match error.code {
        ErrorCode::Unauthorized => DialError::Unauthorized(message),
        code if error.retryable => {
            let why = Failure::new(FailureKind::Refused, format!("refused with {code}: {message}"));
            let told = error.retry_after_ms.map(Duration::from_millis);
            DialError::Passing(Setback { why, retry_after: told.map(|told| told.min(RETRY_AFTER_MAX)) })
        }
        code => DialError::Final(CloseReason::Refused { code: Some(code), message }),
    }
}
