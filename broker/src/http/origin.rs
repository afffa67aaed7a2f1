//! Which web pages may reach the broker.
//!
//! A browser lets any page on the web open a WebSocket to any address, a developer's own machine
//! included; all that tells them apart is the `Origin` header.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};

use super::metrics::HttpMetrics;
use super::problem::Problem;
use crate::hub::Hub;
use crate::origin::{AllowedOrigin, Origin};

/// Refuses a request from a page that may not ask.
pub(super) fn check(hub: &Hub, metrics: &HttpMetrics, headers: &HeaderMap) -> Result<(), Problem> {
    let config = &hub.config().server;
    let allowed = &config.allowed_origins;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // Any name on the web can be made to resolve to 127.0.0.1. Its pages then call the broker by their
    // own name, as their own host; so where only loopback may reach an open broker, names must be too.
    let trust_any_host = !(config.listen.ip().is_loopback() && hub.access().is_open());
    let is_secured = config.tls.is_some();
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(header) = origins.next() else {
        // A page's GET to its own host has no origin.
        if trust_any_host || !is_public_name(host) || allowed.iter().any(|entry| names_host(entry, host)) {
            return Ok(());
        }
        let scheme = if is_secured { "https" } else { "http" };
        return Err(refuse(hub, metrics, &format!("{scheme}://{host}")));
    };
    let origin = match origins.next() {
        None => header.to_str().unwrap_or("(not ASCII)"),
        Some(_) => "(more than one)",
    };
    match is_allowed(origin, trust_any_host.then_some((host, is_secured)), allowed) {
        true => Ok(()),
        false => Err(refuse(hub, metrics, origin)),
    }
}

/// Whether the request comes from a page that may use the cookies of whoever sees it: one of the request's own host, or of an
/// origin that is listed as it is. That any page may connect, or any of this machine, says nothing of that: cookies come
/// along with whatever page asks, unasked.
///
/// A page that came unencrypted is none of a host that `is_secured`.
pub(super) fn vouches(allowed: &[AllowedOrigin], is_secured: bool, headers: &HeaderMap) -> bool {
    let the_one = |name| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    let Some(Ok(origin)) = the_one(ORIGIN).map(str::parse::<Origin>) else { return false };
    allowed.iter().any(|entry| matches!(entry, AllowedOrigin::One(one) if *one == origin))
        || the_one(HOST).is_some_and(|host| origin.is_of_host(host) && (origin.is_https() || !is_secured))
}

/// Says in the log and to the page who was refused, and how to allow it.
fn refuse(hub: &Hub, metrics: &HttpMetrics, origin: &str) -> Problem {
    metrics.rejected("origin");
    if let Some(unlogged) = hub.refused_origins.may_log() {
        tracing::warn!(
            origin,
            unlogged,
            "refused a web page; to allow it add its origin to server.allowed_origins (FANFARE_SERVER__ALLOWED_ORIGINS)"
        );
    }
    let detail = match origin {
        // Of a file, or a frame in a sandbox: anybody's.
        "null" => "pages without an origin of their own may not connect; serve the page over HTTP".to_owned(),
        _ => format!(
            "pages of {origin} may not connect; the operator can add that origin to server.allowed_origins"
        ),
    };
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// Whether a host is named as only the web's own names are: with a dot, and no address.
pub(super) fn is_public_name(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    !host.starts_with('[') && name.contains('.') && name.parse::<IpAddr>().is_err() && !is_loopback(&name)
}

/// Whether an allowed origin is of that host.
fn names_host(allowed: &AllowedOrigin, host: &str) -> bool {
    match allowed {
        AllowedOrigin::Any => true,
        AllowedOrigin::Kind(_) => false,
        AllowedOrigin::One(origin) => origin.is_of_host(host),
    }
}

/// `own` is the broker's own host as the request names it, where that counts, and whether it is reached by `https` alone.
fn is_allowed(origin: &str, own: Option<(&str, bool)>, allowed: &[AllowedOrigin]) -> bool {
    if allowed.contains(&AllowedOrigin::Any) {
        return true;
    }
    let Ok(origin) = origin.parse::<Origin>() else { return false };
    allowed.iter().any(|entry| entry.allows(&origin))
        || is_loopback(origin.host())
        || own.is_some_and(|(host, is_secured)| origin.is_of_host(host) && (origin.is_https() || !is_secured))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn app() -> AllowedOrigin {
        "https://app.example.com".parse().expect("an origin")
    }

    #[test]
    fn loopback_and_named_origins_are_allowed() {
        let allowed = [app()];
        for origin in [
            "http://127.0.0.1:9000",
            "http://localhost",
            "https://localhost:3000",
            "http://chat.localhost:1",
            "http://[::1]:80",
            "https://app.example.com",
            "https://APP.example.com",
        ] {
            assert!(is_allowed(origin, None, &allowed), "{origin}");
        }
    }

    #[test]
    fn only_a_page_of_the_own_host_or_of_a_listed_origin_vouches_for_cookies() {
        let any: AllowedOrigin = "*".parse().expect("any");
        let kind: AllowedOrigin = "moz-extension://*".parse().expect("a kind");
        let allowed = [app(), any, kind];
        let vouch = |lines: &[(&HeaderName, &str)]| {
            let line = |&(name, value): &(&HeaderName, &str)| {
                (name.clone(), HeaderValue::from_str(value).expect("a header's value"))
            };
            vouches(&allowed, false, &lines.iter().map(line).collect())
        };
        let own = |scheme: &str| {
            let origin = HeaderValue::try_from(format!("{scheme}://broker.example.com")).expect("a value");
            HeaderMap::from_iter([(ORIGIN, origin), (HOST, HeaderValue::from_static("broker.example.com"))])
        };
        assert!(vouches(&allowed, true, &own("https")) && !vouches(&allowed, true, &own("http")));
        const O: &HeaderName = &ORIGIN;
        const H: &HeaderName = &HOST;
        for good in [
            &[(O, "https://app.example.com"), (H, "broker.example.com")][..],
            &[(O, "https://app.example.com:443")],
            &[(O, "https://broker.example.com"), (H, "broker.example.com")],
            &[(O, "http://127.0.0.1:8000"), (H, "127.0.0.1:8000")],
        ] {
            assert!(vouch(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[(H, "broker.example.com")],
            &[(O, "null"), (H, "broker.example.com")],
            &[(O, ""), (H, "")],
            &[(O, "https://evil.example"), (H, "broker.example.com")],
            &[(O, "https://broker.example.com.evil.example"), (H, "broker.example.com")],
            &[(O, "https://evil-broker.example.com"), (H, "broker.example.com")],
            &[(O, "https://other.example.com"), (H, "broker.example.com")],
            &[(O, "http://localhost:3000"), (H, "127.0.0.1:8000")],
            &[(O, "http://127.0.0.1:3000"), (H, "127.0.0.1:8000")],
            &[(O, "moz-extension://5d1b9c0e"), (H, "broker.example.com")],
            &[(O, "https://app.example.com"), (O, "https://app.example.com")],
            &[(O, "https://a.example"), (H, "a.example"), (H, "b.example")],
            &[(O, "http://app.example.com"), (H, "broker.example.com")],
            &[(O, "https://app.example.com:8443"), (H, "broker.example.com")],
        ] {
            assert!(!vouch(bad), "{bad:?}");
        }
    }

    #[test]
    fn look_alikes_are_refused() {
        let allowed = [app()];
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
            assert!(!is_allowed(origin, Some(("127.0.0.1:8000", false)), &allowed), "{origin}");
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
        assert!(names_host(&app(), "app.example.com"));
        assert!(names_host(&app(), "app.example.com:443"));
        assert!(!names_host(&app(), "app.example.com:81"));
    }

    #[test]
    fn a_pages_own_host_counts_unless_any_name_could_be_made_to_mean_loopback() {
        let own = |origin: &str, host, is_secured| is_allowed(origin, Some((host, is_secured)), &[]);
        assert!(own("https://chat.example.com", "chat.example.com", false));
        assert!(!own("https://chat.example.com", "other.example.com", false));
        assert!(!is_allowed("http://evil.test:8000", None, &[]));
    }

    #[test]
    fn a_page_that_came_as_it_is_read_on_the_way_is_not_of_a_host_that_is_reached_by_tls() {
        let own = |origin: &str, host| is_allowed(origin, Some((host, true)), &[]);
        assert!(own("https://chat.example.com", "chat.example.com"));
        assert!(own("https://chat.example.com:8443", "chat.example.com:8443"));
        for (origin, host) in [
            ("http://chat.example.com", "chat.example.com"),
            ("http://chat.example.com:8443", "chat.example.com:8443"),
            ("https://chat.example.com", "chat.example.com:8443"),
        ] {
            assert!(!own(origin, host), "{origin}, {host}");
        }
    }
}
