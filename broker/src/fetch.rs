//! Fetches a small document over HTTP or HTTPS, within bounds of time and size. It must not know what for.
//!
//! A fetch is one connection and one request: no redirect is followed, no proxy is used, no cookie kept.

mod target;

use std::fmt::Display;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

pub(crate) use target::Target;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It cannot be connected to, is not who it should be, or does not speak HTTP.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    /// It answered with something else than 200.
    #[error("it answered with status {}, where 200 is expected and a redirect is not followed", .0.as_u16())]
    Status(StatusCode),
    /// It is larger than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

impl FetchError {
    fn unreachable(why: impl Display) -> Self {
        Self::Unreachable(why.to_string())
    }
}

/// Fetches what is there, `most` bytes at most, within that time for all of it.
///
/// # Errors
/// [`FetchError`].
///
/// # Cancel safety
/// Dropped, the connection is cut.
pub(crate) async fn fetch(target: &Target, most: usize, within: Duration) -> Result<Vec<u8>, FetchError> {
    let fetched = tokio::time::timeout(within, fetch_all(target, most)).await;
    fetched.unwrap_or(Err(FetchError::TimedOut(within)))
}

async fn fetch_all(target: &Target, most: usize) -> Result<Vec<u8>, FetchError> {
    let tcp = connect(target).await?;
    match target.tls().await.map_err(FetchError::unreachable)? {
        None => ask(tcp, target, most).await,
        Some((config, name)) => {
            let connecting = TlsConnector::from(config).connect(name, tcp);
            ask(connecting.await.map_err(FetchError::unreachable)?, target, most).await
        }
    }
}

/// Tries the addresses of the host, those of both families.
async fn connect(target: &Target) -> Result<TcpStream, FetchError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let tcp = connector.call(target.uri().clone()).await.map_err(with_sources)?.into_inner();
    // What is not encrypted stays on this machine, whatever the name means to it.
    let is_here = tcp.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
    if !target.is_secure() && !is_here {
        return Err(FetchError::unreachable(
            "the host is not on this machine, and http:// is for that alone",
        ));
    }
    Ok(tcp)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &Target,
    most: usize,
) -> Result<Vec<u8>, FetchError> {
    let mut protocol = http1::Builder::new();
    protocol.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        protocol.handshake(TokioIo::new(stream)).await.map_err(FetchError::unreachable)?;
    let request = Request::get(target.path_and_query())
        .header(HOST, target.authority())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, concat!("fanfare/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(FetchError::unreachable)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(with_sources)?;
        match answer.status() {
            StatusCode::OK => read(answer.into_body(), most).await,
            other => Err(FetchError::Status(other)),
        }
    };
    // It may end before all that it has read is taken.
    let carried = async {
        drop(connection.await);
        pending::<()>().await;
    };
    tokio::select! {
        biased;
        answered = answered => answered,
        () = carried => Err(FetchError::unreachable("the connection has ended")),
    }
}

async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, FetchError> {
    if body.size_hint().lower() > most as u64 {
        return Err(FetchError::TooLarge(most));
    }
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(with_sources)?.into_data() else { continue };
        if all.len() + data.len() > most {
            return Err(FetchError::TooLarge(most));
        }
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// The reason itself stands at the end of the row of causes.
fn with_sources(error: impl std::error::Error) -> FetchError {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    FetchError::Unreachable(said)
}
