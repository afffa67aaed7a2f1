//! What the head of any request must be.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, StatusCode, Version, header};

use super::problem::Problem;

/// Refuses what HTTP/1.1 forbids and hyper lets pass.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    check_host(request.version(), headers)?;
    check_transfer_encoding(headers)
}

/// RFC 9112, section 3.2: there is one, and it names a host. Two that differ are two opinions of who is
/// asked, and what stands in front of the broker may have the other one.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_good = match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_plain(host.as_bytes()) || Authority::try_from(host.as_bytes()).is_ok(),
        (Some(_), Some(_)) => false,
    };
    is_good
        .then_some(())
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "bad_request", "one Host header is needed"))
}

/// Whether it is a name or an address with or without a port, as nearly every host is, or empty: the whole syntax
/// takes longer to look at than all the rest of a head.
fn is_plain(host: &[u8]) -> bool {
    let (name, port) =
        host.iter().position(|&byte| byte == b':').map_or((host, &[][..]), |at| host.split_at(at));
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && port.iter().skip(1).all(u8::is_ascii_digit)
        && name.is_empty() == host.is_empty()
}

/// RFC 9112, section 6.1: a coding that is not understood is refused, not published.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match has_coding_but(headers, header::TRANSFER_ENCODING, "chunked") {
        false => Ok(()),
        true => Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "bad_request",
            "the one transfer coding that is understood is \"chunked\"",
        )),
    }
}

/// Refuses a body that is compressed: it would be published as it is.
pub(super) fn check_content_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match has_coding_but(headers, header::CONTENT_ENCODING, "identity") {
        false => Ok(()),
        true => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad_request",
            "a body is taken as it is: send it without Content-Encoding",
        )
        .with_header(header::ACCEPT_ENCODING, "identity")),
    }
}

fn has_coding_but(headers: &HeaderMap, name: header::HeaderName, known: &str) -> bool {
    let values = headers.get_all(name);
    let mut codings = values.iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(known.as_bytes())
    })
}
