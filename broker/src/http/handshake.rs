//! The request for a WebSocket as it nearly always comes, read without hyper, and the answer to it. It must not know what is
//! answered, and whatever is unusual it leaves to hyper.

use std::io::Write as _;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use axum::response::Response;
use httpdate::HttpDate;

use crate::route::Route;

/// Headers that a browser or a library sends with such a request are fewer.
const HEADERS_MAX: usize = 64;

/// The request, if the bytes are a whole one for a WebSocket of `headers_max` headers at most, which hyper would read in the
/// same way, and nothing beside it: no body, no other request, no frame.
pub(super) fn recognise(bytes: &Bytes, headers_max: usize) -> Option<Request<()>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers[..HEADERS_MAX.min(headers_max)]);
    let is_whole = head.parse(bytes).is_ok_and(|parsed| parsed == httparse::Status::Complete(bytes.len()));
    if !is_whole || head.method != Some(Method::GET.as_str()) || head.version != Some(1) {
        return None;
    }
    let path = head.path.filter(|path| path.starts_with('/'))?;
    let uri = Uri::from_maybe_shared(bytes.slice_ref(path.as_bytes())).ok()?;
    if !matches!(Route::of(uri.path()), Route::Native | Route::Raw) {
        return None;
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    let fields = request.headers_mut();
    fields.reserve(head.headers.len());
    for field in &*head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if is_for_hyper(&name, field.value) {
            return None;
        }
        fields.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?);
    }
    fields.contains_key(header::UPGRADE).then_some(request)
}

/// Whether the header says something of the message or the connection that hyper has to know.
fn is_for_hyper(name: &HeaderName, value: &[u8]) -> bool {
    match *name {
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT => true,
        header::CONNECTION => !value.split(|&byte| byte == b',').all(|word| {
            let word = word.trim_ascii();
            word.eq_ignore_ascii_case(b"upgrade") || word.eq_ignore_ascii_case(b"keep-alive")
        }),
        _ => false,
    }
}

/// The head of an answer that switches protocols, as hyper writes it.
pub(super) fn written(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    write!(bytes, "date: {}\r\n\r\n", HttpDate::from(SystemTime::now())).expect("memory takes all of it");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /ws/t?history=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n";

    fn is_recognised(bytes: &str) -> bool {
        recognise(&Bytes::copy_from_slice(bytes.as_bytes()), 100).is_some()
    }

    #[test]
    fn a_plain_request_for_a_websocket_is_read_as_it_stands() {
        let request = recognise(&Bytes::from_static(HEAD.as_bytes()), 3).expect("a plain one");
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
        assert_eq!(request.uri(), "/ws/t?history=1");
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(
            headers,
            [
                ("host", &HeaderValue::from_static("h")),
                ("upgrade", &HeaderValue::from_static("websocket")),
                ("connection", &HeaderValue::from_static("keep-alive, Upgrade")),
            ]
        );
        assert!(
            recognise(&Bytes::from_static(HEAD.as_bytes()), 2).is_none(),
            "more headers than there may be"
        );
    }

    #[test]
    fn whatever_is_unusual_is_left_to_hyper() {
        assert!(is_recognised(HEAD));
        for end in 0..HEAD.len() {
            assert!(!is_recognised(&HEAD[..end]), "{end}");
        }
        for (from, to) in [
            ("GET", "HEAD"),
            ("GET", "get"),
            ("GET /ws/t", "GET http://h/ws/t"),
            ("GET /ws/t", "GET /v1/topics"),
            ("GET /ws/t", "GET /ws/"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "HTTP/2.0"),
            ("Upgrade: websocket\r\n", ""),
            ("keep-alive, Upgrade", "close, Upgrade"),
            ("keep-alive, Upgrade", "Upgrade, te"),
            ("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
            ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"),
            ("\r\n\r\n", "\r\n folded\r\n\r\n"),
            ("\r\n\r\n", "\r\n\r\nx"),
            ("Host: h", "Host : h"),
            ("Host: h", "Host: h\0"),
        ] {
            let changed = HEAD.replacen(from, to, 1);
            assert!(changed != HEAD && !is_recognised(&changed), "{changed:?}");
        }
    }
}
