//! Who may ask the admin listener: whoever brings a token of it, or is on this machine; and no web page, ever. Pure.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use fanfare_protocol::ErrorCode;

use crate::access::admin::AdminTokens;
use crate::http::credentials;
use crate::http::origin::is_public_name;
use crate::http::problem::Problem;

/// What is asked for, as far as it matters who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether the broker is there: anybody's, for it tells nothing else.
    Health,
    Metrics,
    /// All else: to look at what clients do, and to intervene.
    Control,
}

impl Asked {
    fn of(path: &str) -> Self {
        match path {
            "/livez" | "/readyz" => Self::Health,
            "/metrics" => Self::Metrics,
            _ => Self::Control,
        }
    }
}

/// Why a request is refused: a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A web page asks.
    Page,
    /// It asks for a name that could be made to mean this machine.
    Host,
    /// There are no tokens, and it can be reached from elsewhere.
    Closed,
    /// It brings no token, or none that is known.
    Token,
    /// It would change something, and could be what a form of a web page sends.
    Form,
}

impl Refused {
    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Host => "host",
            Self::Closed => "closed",
            Self::Token => "token",
            Self::Form => "form",
        }
    }
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        let forbidden = |why| Self::of(ErrorCode::Forbidden, why);
        match why {
            Refused::Page => forbidden("web pages may not ask here"),
            Refused::Host => forbidden(
                "any name of the web can be made to mean this machine: ask by its address, or by localhost; or \
                 configure a token (admin.token_files)",
            ),
            Refused::Closed => forbidden(
                "this listener can be reached from the network, and no token is configured for it (admin.token_files, \
                 FANFARE_ADMIN__TOKEN_FILES)",
            ),
            Refused::Token => Self::of(ErrorCode::Unauthorized, "a token of the admin listener is needed"),
            Refused::Form => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::BadRequest.as_str(),
                "what changes something is sent with Content-Type: application/json",
            ),
        }
    }
}

/// Whether a request may be answered.
///
/// # Errors
/// [`Refused`]: why not.
pub(super) fn check(
    tokens: &AdminTokens,
    is_loopback: bool,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    let asked = Asked::of(path);
    if asked == Asked::Health {
        return Ok(());
    }
    if is_from_a_page(headers) {
        return Err(Refused::Page);
    }
    let is_open = tokens.is_empty() || (asked == Asked::Metrics && tokens.are_metrics_open());
    match asked {
        _ if !is_open && bearer(headers).is_some_and(|token| tokens.admit(token)) => {}
        _ if !is_open => return Err(Refused::Token),
        // Where whoever is on this machine may, a page may that has its own name mean it.
        _ if is_loopback && has_public_name(headers) => return Err(Refused::Host),
        Asked::Control if !is_loopback => return Err(Refused::Closed),
        _ => {}
    }
    // A form sends no other method than these, and no JSON.
    let is_like_a_form = *method == Method::POST && !is_json(headers);
    if is_like_a_form { Err(Refused::Form) } else { Ok(()) }
}

/// Whether a browser sends it for a page. It says so where a page of another origin asks, and a page of this origin is none of ours;
/// a person may type the address.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    headers.contains_key(ORIGIN) || sites.any(|site| site.as_bytes() != b"none")
}

fn has_public_name(headers: &HeaderMap) -> bool {
    headers.get(HOST).is_some_and(|host| host.to_str().map_or(true, is_public_name))
}

/// The token of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    credentials::bearer(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::access::admin::AdminConfig;

    const TOKEN: &str = "an-admin-token-0";

    fn tokens(open_metrics: bool) -> AdminTokens {
        let config = AdminConfig { tokens: vec![TOKEN.into()], open_metrics, ..AdminConfig::default() };
        AdminTokens::new(&config).expect("good")
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn get(
        tokens: &AdminTokens,
        is_loopback: bool,
        path: &str,
        lines: &[(&'static str, &str)],
    ) -> Result<(), Refused> {
        check(tokens, is_loopback, &Method::GET, path, &headers(lines))
    }

    #[test]
    fn without_tokens_all_is_open_on_this_machine_and_elsewhere_only_health_and_metrics() {
        let none = AdminTokens::default();
        for path in ["/livez", "/readyz", "/metrics"] {
            for is_loopback in [true, false] {
                assert_eq!(get(&none, is_loopback, path, &[]), Ok(()), "{path}");
            }
        }
        for path in ["/v1/connections", "/v1/top", "/nowhere", "/", "/livez/", "/Livez"] {
            assert_eq!(get(&none, true, path, &[]), Ok(()), "{path}");
            let bearer = format!("Bearer {TOKEN}");
            assert_eq!(
                get(&none, false, path, &[("authorization", &bearer)]),
                Err(Refused::Closed),
                "{path}"
            );
        }
    }

    #[test]
    fn with_tokens_one_is_needed_everywhere_but_for_health() {
        let bearer = format!("Bearer {TOKEN}");
        let lower = format!("bearer  {TOKEN} ");
        for is_loopback in [true, false] {
            for path in ["/v1/connections", "/metrics", "/nowhere"] {
                let with = |lines: &[(&'static str, &str)]| get(&tokens(false), is_loopback, path, lines);
                for good in [&bearer, &lower] {
                    assert_eq!(with(&[("authorization", good)]), Ok(()), "{path}");
                }
                assert_eq!(with(&[]), Err(Refused::Token), "{path}");
                for bad in
                    ["", "Bearer", "Bearer ", TOKEN, &format!("Basic {TOKEN}"), &format!("Bearer {TOKEN}0")]
                {
                    assert_eq!(with(&[("authorization", bad)]), Err(Refused::Token), "{path} {bad}");
                }
                let twice = [("authorization", &*bearer), ("authorization", "Bearer other")];
                assert_eq!(with(&twice), Err(Refused::Token), "{path}");
            }
            assert_eq!(get(&tokens(false), is_loopback, "/livez", &[]), Ok(()));
            assert_eq!(get(&tokens(true), is_loopback, "/metrics", &[]), Ok(()));
            assert_eq!(get(&tokens(true), is_loopback, "/v1/top", &[]), Err(Refused::Token));
        }
    }

    #[test]
    fn no_web_page_is_answered_whatever_it_brings() {
        let bearer = format!("Bearer {TOKEN}");
        for page in [
            ("origin", "http://evil.test"),
            ("origin", "http://127.0.0.1:8001"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            for path in ["/metrics", "/v1/connections"] {
                let lines = [page, ("authorization", &*bearer)];
                assert_eq!(get(&tokens(true), false, path, &lines), Err(Refused::Page), "{page:?}");
                assert_eq!(get(&AdminTokens::default(), true, path, &[page]), Err(Refused::Page), "{page:?}");
            }
        }
        assert_eq!(get(&AdminTokens::default(), true, "/v1/top", &[("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn a_name_that_could_be_made_to_mean_this_machine_is_refused_where_no_token_is_asked_for() {
        for (host, expected) in [
            ("evil.test:8001", Err(Refused::Host)),
            ("127.0.0.1.evil.test", Err(Refused::Host)),
            ("127.0.0.1:8001", Ok(())),
            ("[::1]:8001", Ok(())),
            ("localhost:8001", Ok(())),
        ] {
            for path in ["/metrics", "/v1/connections"] {
                assert_eq!(get(&AdminTokens::default(), true, path, &[("host", host)]), expected, "{host}");
            }
        }
        let evil = [("host", "evil.test")];
        assert_eq!(
            get(&tokens(true), true, "/metrics", &evil),
            Err(Refused::Host),
            "open is open to this machine"
        );
        let lines = [("host", "admin.example.com"), ("authorization", &*format!("Bearer {TOKEN}"))];
        assert_eq!(get(&tokens(false), true, "/v1/top", &lines), Ok(()), "it brings what no page has");
    }

    #[test]
    fn what_a_form_can_send_changes_nothing() {
        let post = |lines: &[(&'static str, &str)]| {
            check(&AdminTokens::default(), true, &Method::POST, "/v1/revocations", &headers(lines))
        };
        for form in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
        {
            assert_eq!(post(&[("content-type", form)]), Err(Refused::Form), "{form}");
        }
        assert_eq!(post(&[]), Err(Refused::Form));
        assert_eq!(post(&[("content-type", "application/json; charset=utf-8")]), Ok(()));
    }
}
