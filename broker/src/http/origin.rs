//! Which web pages may reach the broker.
//!
//! A browser lets any page on the web open a WebSocket to any address, a developer's own machine
//! included; all that tells them apart is the `Origin` header.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::problem::Problem;
use crate::hub::Hub;

/// The origin that was allowed, if the request comes from a page that says where it is from.
pub(super) fn check(hub: &Hub, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let config = &hub.config.server;
    let allowed = &config.allowed_origins;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // Any name on the web can be made to resolve to 127.0.0.1. Its pages then call the broker by their
    // own name, as their own host; so where only loopback may reach an open broker, names must be too.
    let trust_any_host = !(config.listen.ip().is_loopback() && hub.access.is_open());
    let Some(header) = headers.get(ORIGIN) else {
        // A page's GET to its own host has no origin.
        if trust_any_host || !is_public_name(host) || allowed.iter().any(|entry| names_host(entry, host)) {
            return Ok(None);
        }
        return Err(refuse(hub, &format!("http://{host}")));
    };
    let origin = header.to_str().unwrap_or("(not ASCII)");
    if is_allowed(origin, host, allowed, trust_any_host) {
        return Ok(Some(header.clone()));
    }
    Err(refuse(hub, origin))
}

/// Says in the log and to the page who was refused, and how to allow it.
fn refuse(hub: &Hub, origin: &str) -> Problem {
    if let Some(unlogged) = hub.refused_origins.may_log() {
        tracing::warn!(
            origin,
            unlogged,
            "refused a web page; to allow it add its origin to server.allowed_origins (FANFARE_SERVER__ALLOWED_ORIGINS)"
        );
    }
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!(
            "pages of {origin} may not connect; the operator can add that origin to server.allowed_origins"
        ),
    )
}

/// Whether a host is named as only the web's own names are: with a dot, and no address.
fn is_public_name(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    !host.starts_with('[') && name.contains('.') && name.parse::<IpAddr>().is_err() && !is_loopback(&name)
}

/// Whether an allowed origin is of that host.
fn names_host(allowed: &str, host: &str) -> bool {
    allowed == "*" || parse(allowed).is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
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
    fn only_dotted_names_can_be_pointed_at_loopback_from_outside() {
        for host in ["evil.test", "EVIL.test:8000", "evil.test.", "127.0.0.1.evil.test:1"] {
            assert!(is_public_name(host), "{host}");
        }
        for host in
            ["", "localhost:8000", "chat.localhost", "broker", "127.0.0.1:8000", "10.0.0.1", "[::1]:80"]
        {
            assert!(!is_public_name(host), "{host}");
        }
        assert!(names_host("https://app.example.com", "app.example.com"));
        assert!(!names_host("https://app.example.com", "app.example.com:81"));
    }

    #[test]
    fn a_pages_own_host_counts_unless_any_name_could_be_made_to_mean_loopback() {
        assert!(is_allowed("https://chat.example.com", "chat.example.com", &[], true));
        assert!(!is_allowed("https://chat.example.com", "other.example.com", &[], true));
        assert!(!is_allowed("http://evil.test:8000", "evil.test:8000", &[], false));
    }
}
