//! Which web pages may reach the broker.
//!
//! A browser lets any page on the web open a WebSocket to any address, a developer's own machine
//! included; all that tells them apart is the `Origin` header.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::problem::Problem;
use crate::hub::Hub;

/// The origin that was allowed, if the request comes from a page.
pub(super) fn check(hub: &Hub, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let Some(header) = headers.get(ORIGIN) else { return Ok(None) };
    let config = &hub.config.server;
    let origin = header.to_str().unwrap_or("(not ASCII)");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // On an open loopback listener a page's own host must itself be loopback: any name on the web can
    // be made to resolve to 127.0.0.1, and its pages then call the broker by their own name.
    let trust_any_host = !(config.listen.ip().is_loopback() && hub.access.is_open());
    if is_allowed(origin, host, &config.allowed_origins, trust_any_host) {
        return Ok(Some(header.clone()));
    }
    if let Some(unlogged) = hub.refused_origins.may_log() {
        tracing::warn!(
            origin,
            unlogged,
            "refused a web page; to allow it add its origin to server.allowed_origins (FANFARE_SERVER__ALLOWED_ORIGINS)"
        );
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!(
            "pages of {origin} may not connect; the operator can add that origin to server.allowed_origins"
        ),
    ))
}

fn is_allowed(origin: &str, host: &str, allowed: &[String], trust_any_host: bool) -> bool {
    if allowed.iter().any(|entry| entry == "*" || entry.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((name, authority)) = parse(origin) else { return false };
    is_loopback(&name) || (trust_any_host && authority.eq_ignore_ascii_case(host))
}

/// The host and the authority of an origin, which is a scheme, a host and maybe a port.
fn parse(origin: &str) -> Option<(String, String)> {
    let uri: Uri = origin.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_whole = origin.eq_ignore_ascii_case(&format!("{scheme}://{authority}"));
    (is_whole && !authority.as_str().contains('@'))
        .then(|| (authority.host().to_ascii_lowercase(), authority.as_str().to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_origins_are_allowed() {
        let allowed = ["https://app.example.com".to_owned()];
        for origin in [
            "http://127.0.0.1:9000",
            "http://localhost",
            "https://localhost:3000",
            "http://chat.localhost:1",
            "http://[::1]:80",
            "https://app.example.com",
            "https://APP.example.com",
        ] {
            assert!(is_allowed(origin, "127.0.0.1:8000", &allowed, false), "{origin}");
        }
    }

    #[test]
    fn look_alikes_are_refused() {
        let allowed = ["https://app.example.com".to_owned()];
        for origin in [
            "null",
            "",
            "https://app.example.com.evil.test",
            "https://evil.test/https://app.example.com",
            "http://app.example.com",
            "https://app.example.com:444",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://127.0.0.1@evil.test",
            "http://evil.test#127.0.0.1",
            "http://evil.test",
        ] {
            assert!(!is_allowed(origin, "127.0.0.1:8000", &allowed, true), "{origin}");
        }
    }

    #[test]
    fn a_pages_own_host_counts_unless_any_name_could_be_made_to_mean_loopback() {
        assert!(is_allowed("https://chat.example.com", "chat.example.com", &[], true));
        assert!(!is_allowed("https://chat.example.com", "other.example.com", &[], true));
        assert!(!is_allowed("http://evil.test:8000", "evil.test:8000", &[], false));
    }
}
