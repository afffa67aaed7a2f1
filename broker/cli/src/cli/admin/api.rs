//! The admin API as a client asks it: one request on a connection of its own, over plain HTTP.

use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::output;

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
    /// The API at that URL, of which scheme, host and port count.
    pub(crate) fn new(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().map_err(|e| anyhow::anyhow!("{url}: {e}"))?;
        if uri.scheme_str() != Some("http") {
            anyhow::bail!("{url}: expected an address like http://127.0.0.1:8001");
        }
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
            None => format!("{authority}:80"),
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority, token })
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
        let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&self.authority)).await;
        let stream = connecting.map_err(|_| anyhow::anyhow!("no connection in {} s", CONNECT_MAX.as_secs()));
        let stream = stream.and_then(|connected| Ok(connected?));
        let stream = stream.with_context(|| format!("{} cannot be reached", self.url))?;
        let answered = tokio::time::timeout(ANSWER_MAX, exchange(stream, request)).await;
        let answered = answered.map_err(|_| anyhow::anyhow!("no answer in {} s", ANSWER_MAX.as_secs()));
        let (status, body) = answered.and_then(|answered| answered).with_context(|| self.url.clone())?;
        self.judged(status, &body)
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
        let detail =
            answer.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or("no reason was given");
        let detail = output::printable(detail);
        let hint = match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => " (--token-file, or FANFARE_ADMIN_TOKEN)",
            (StatusCode::UNAUTHORIZED, Some(_)) => ", and this one is not known",
            _ => "",
        };
        anyhow::bail!("{}: {}: {detail}{hint}", self.url, status.as_u16())
    }
}

/// Sends a request on a new connection; returns the status and the body of its answer.
async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
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
    fn a_url_is_an_address_of_plain_http_and_nothing_more() {
        for (url, authority) in [
            ("http://127.0.0.1:8001", "127.0.0.1:8001"),
            ("http://localhost:8001/", "localhost:8001"),
            ("http://[::1]:8001", "[::1]:8001"),
            ("http://broker", "broker:80"),
        ] {
            assert_eq!(Api::new(url, None).expect(url).authority, authority);
        }
        for bad in [
            "",
            "127.0.0.1:8001",
            "ws://h:1",
            "https://h:1",
            "http://",
            "http://u:p@h:1",
            "http://h/v1",
            "http://h?x",
        ] {
            Api::new(bad, None).expect_err(bad);
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
