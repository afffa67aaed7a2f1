//! The admin API as a client asks it: one request on a connection of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fanfare_client::{Trust, secure};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::cli::{output, untrusted};

/// The time for an answer, from the first byte of the request on.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The time for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Bytes of the longest answer: a page of 1,000 with the longest names is far below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is written as it is in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The admin API of one broker.
#[derive(Debug)]
pub(crate) struct Api {
    url: String,
    /// Host and port.
    authority: String,
    token: Option<String>,
    /// Whom to trust, where it speaks TLS.
    secured: Option<Trust>,
}

/// The text as one part of a path.
pub(crate) fn segment(text: &str) -> String {
    let encoded = utf8_percent_encode(text, PLAIN).to_string();
    // Alone these two have a meaning of their own, for proxies too.
    match encoded.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded,
    }
}

fn query_of(query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs: Vec<_> =
        given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PLAIN))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

impl Api {
    /// The API at that URL, of which scheme, host and port count. Where it is `https://` whom the system trusts is trusted, and
    /// the certificates of that file, if any.
    pub(crate) fn new(url: &str, token: Option<String>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().map_err(|e| anyhow::anyhow!("{url}: {e}"))?;
        let (mut secured, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(Trust::default()), 443),
            _ => anyhow::bail!("{url}: expected an address like http://127.0.0.1:8001"),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.is_empty()
            || authority.contains('@')
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
        {
            anyhow::bail!("{url}: expected an address like http://127.0.0.1:8001, and nothing behind it");
        }
        let authority = match uri.port() {
            Some(_) => authority.to_owned(),
            None => format!("{authority}:{port}"),
        };
        if let (Some(trust), Some(file)) = (&mut secured, ca_file) {
            trust.add_file(file)?;
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority, token, secured })
    }

    /// The host, as a certificate has it.
    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Asks, and gives the answer where it is a good one.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let request = self.request(method, path, query, body)?;
        let connected = tokio::time::timeout(CONNECT_MAX, self.connect()).await;
        let connected =
            connected.map_err(|_| anyhow::anyhow!("no connection in {} s", CONNECT_MAX.as_secs()));
        let stream = connected.and_then(|connected| connected);
        let stream = stream.with_context(|| format!("{} cannot be reached", self.url))?;
        let answered = tokio::time::timeout(ANSWER_MAX, exchange(stream, request)).await;
        let answered = answered.map_err(|_| anyhow::anyhow!("no answer in {} s", ANSWER_MAX.as_secs()));
        let (status, body) = answered.and_then(|answered| answered).with_context(|| self.url.clone())?;
        self.judged(status, &body)
    }

    /// A connection, secured where it is to be.
    async fn connect(&self) -> anyhow::Result<Box<dyn Connection>> {
        let tcp = TcpStream::connect(&self.authority).await?;
        let Some(trust) = &self.secured else { return Ok(Box::new(tcp)) };
        match secure(tcp, self.host(), trust.clone()).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => {
                let hint = untrusted::hint(&*error);
                anyhow::bail!("TLS: {}{hint}", output::printable(&error.to_string()))
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
        body: Option<&Value>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(format!("{path}{}", query_of(query)));
        request = request.header(HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }

    /// The answer, or what its problem says.
    fn judged(&self, status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        if status.is_success() {
            return answer.with_context(|| {
                format!("{}: the answer is no JSON: is this the admin listener?", self.url)
            });
        }
        // What does not come to an answer, such as a request in plain to a port that speaks TLS, is refused in plain words.
        let words = std::str::from_utf8(body).ok().map(str::trim).filter(|words| !words.is_empty());
        let words = words.filter(|words| words.len() <= WORDS_BYTES_MAX && answer.is_none());
        let detail = answer.as_ref().and_then(|problem| problem["detail"].as_str()).or(words);
        let detail = detail.unwrap_or("no reason was given");
        let detail = output::printable(detail);
        let hint = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => " (--token-file, or FANFARE_ADMIN_TOKEN)",
            (StatusCode::UNAUTHORIZED, Some(_)) => ", and this one is not known",
            _ => "",
        };
        anyhow::bail!("{}: {}: {detail}{hint}", self.url, status.as_u16())
    }
}

/// Longest reason in plain words that is shown.
const WORDS_BYTES_MAX: usize = 500;

/// What carries a request and its answer.
trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// Sends a request on a new connection; returns the status and the body of its answer.
async fn exchange(
    stream: Box<dyn Connection>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| {
            let hint = untrusted::hint(&error);
            anyhow::Error::from(error).context(format!("the request was not answered{hint}"))
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!("the answer could not be read: {e}"))?;
        Ok((status, body.to_bytes()))
    };
    let connection = async {
        drop(connection.await);
        // What ends it is told to whoever waits for the answer.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answered = answered => answered,
        () = connection => unreachable!("it never ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_of_http_with_tls_or_without_and_nothing_more() {
        for (url, authority, host, is_secured) in [
            ("http://127.0.0.1:8001", "127.0.0.1:8001", "127.0.0.1", false),
            ("http://localhost:8001/", "localhost:8001", "localhost", false),
            ("https://[::1]:8001", "[::1]:8001", "::1", true),
            ("http://broker", "broker:80", "broker", false),
            ("https://broker/", "broker:443", "broker", true),
            ("https://[::1]", "[::1]:443", "::1", true),
        ] {
            let api = Api::new(url, None, None).expect(url);
            assert_eq!((&*api.authority, api.host(), api.secured.is_some()), (authority, host, is_secured));
        }
        for bad in [
            "",
            "127.0.0.1:8001",
            "ws://h:1",
            "wss://h:1",
            "http://",
            "https://u:p@h:1",
            "http://h/v1",
            "http://h?x",
        ] {
            Api::new(bad, None, None).expect_err(bad);
        }
    }

    #[test]
    fn whatever_a_name_holds_it_is_one_part_of_a_path_and_one_value_of_a_query() {
        assert_eq!(segment("room:1/2?x#y%z"), "room%3A1%2F2%3Fx%23y%25z");
        assert_eq!((segment(".."), segment("\u{e9}")), ("%2E%2E".into(), "%C3%A9".into()));
        let query = [("user", Some("a&b=c".to_owned())), ("topic", None), ("limit", Some("1".to_owned()))];
        assert_eq!(query_of(&query), "?user=a%26b%3Dc&limit=1");
    }
}
