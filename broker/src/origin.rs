//! Origins of web pages: how they are written, and when two are the same.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::Authority;
use serde::{Deserialize, Serialize};

/// Kinds of pages whose origins are not known before, because each installation has its own.
const KINDS: [&str; 3] = ["chrome-extension", "moz-extension", "safari-web-extension"];

/// What `server.allowed_origins` may hold. It is parsed as the header is that it is compared with, so that
/// nothing can be configured that never matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedOrigin {
    /// `*`: every page.
    Any,
    /// `moz-extension://*`: every page of that scheme.
    Kind(String),
    /// `https://app.example.com`: that one.
    One(Origin),
}

/// A scheme, a host and a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// Absent for schemes that have none by themselves.
    port: Option<u16>,
}

/// Why that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" {why}")]
pub struct InvalidOrigin {
    text: String,
    why: String,
}

impl Origin {
    /// Its host; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether pages of it come by TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether a request with that `Host` asks the host and port of this origin. A `Host` without a port
    /// means the default one of whatever scheme the page came by.
    pub fn is_of_host(&self, host: &str) -> bool {
        let authority = Authority::from_str(host).ok();
        let asked = authority.and_then(|authority| host_and_port(&authority, &self.scheme));
        asked.is_some_and(|(host, port)| host == self.host && port == self.port)
    }
}

/// The host, in lower case, and the port, or where none is written that of the scheme; `None` where there is
/// anything else.
fn host_and_port(authority: &Authority, scheme: &str) -> Option<(String, Option<u16>)> {
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => default_port(scheme),
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    (!authority.host().is_empty()).then(|| (authority.host().to_ascii_lowercase(), port))
}

/// The port that a scheme has where none is written.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let wrong = |why: &str| InvalidOrigin { text: text.to_owned(), why: why.to_owned() };
        let none = || wrong("is no origin, which looks like \"https://app.example.com\"");
        if text.contains(|c: char| c.is_whitespace() || c == ',') {
            return Err(wrong("holds a blank or a comma: one origin is expected"));
        }
        let uri: Uri = text.parse().map_err(|_| none())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(none()) };
        let scheme = scheme.to_ascii_lowercase();
        let whole = format!("{scheme}://{authority}");
        if !text.eq_ignore_ascii_case(&whole) {
            return Err(wrong(&format!("has more than an origin: write \"{whole}\"")));
        }
        let (host, port) = host_and_port(authority, &scheme).ok_or_else(none)?;
        if host.contains('*') {
            return Err(wrong("has a wildcard, which only \"*\" and \"moz-extension://*\" may be"));
        }
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if self.port != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl AllowedOrigin {
    /// Whether it allows that one.
    pub fn allows(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Kind(scheme) => *scheme == origin.scheme,
            Self::One(one) => one == origin,
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let kind = text.strip_suffix("://*");
        if let Some(kind) = kind.and_then(|kind| KINDS.into_iter().find(|known| *known == kind)) {
            return Ok(Self::Kind(kind.to_owned()));
        }
        let origin: Origin = text.parse()?;
        let instead = match origin.scheme.as_str() {
            "ws" => "http",
            "wss" => "https",
            "file" | "data" | "blob" | "about" => {
                return Err(InvalidOrigin {
                    text: text.to_owned(),
                    why: "is the origin of no page: such pages send \"null\", which only \"*\" allows".into(),
                });
            }
            _ => return Ok(Self::One(origin)),
        };
        let why = format!("is where a WebSocket goes, not where a page is from: write \"{instead}://\"");
        Err(InvalidOrigin { text: text.to_owned(), why })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Kind(scheme) => write!(f, "{scheme}://*"),
            Self::One(origin) => origin.fmt(f),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl From<AllowedOrigin> for String {
    fn from(origin: AllowedOrigin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_match_is_no_allowed_origin() {
        for (text, said) in [
            ("", "is no origin"),
            ("null", "is no origin"),
            ("app.example.com", "is no origin"),
            ("https://", "is no origin"),
            ("https://me@app.example.com", "is no origin"),
            ("https://app.example.com/", "write \"https://app.example.com\""),
            ("https://app.example.com/path", "write \"https://app.example.com\""),
            ("https://app.example.com?q", "write \"https://app.example.com\""),
            ("https://*.example.com", "wildcard"),
            ("https://*", "wildcard"),
            ("https://app.example.com:*", "no"),
            ("https://app.example.com:99999", "is no origin"),
            ("wss://app.example.com", "write \"https://\""),
            ("ws://app.example.com", "write \"http://\""),
            (" https://app.example.com", "holds a blank"),
            ("https://a.example https://b.example", "holds a blank"),
            ("https://a.example,https://b.example", "comma"),
            ("[\"https://a.example\"]", "is no origin"),
            ("https://b\u{fc}cher.example", "is no origin"),
            ("file://host", "null"),
        ] {
            let error = text.parse::<AllowedOrigin>().expect_err(text).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let allows = |allowed: &str, origin: &str| {
            let allowed: AllowedOrigin = allowed.parse().expect(allowed);
            allowed.allows(&origin.parse().expect(origin))
        };
        for (allowed, origin, is_allowed) in [
            ("*", "https://any.example", true),
            ("https://app.example.com:443", "https://app.example.com", true),
            ("HTTPS://App.Example.Com", "https://app.example.com", true),
            ("http://app.example.com:80", "http://app.example.com", true),
            ("http://app.example.com:443", "https://app.example.com", false),
            ("https://app.example.com:8443", "https://app.example.com", false),
            ("moz-extension://*", "moz-extension://5d1b9c0e-0d4c-4a3c-9b57-2f1c3f6e7a10", true),
            ("moz-extension://*", "chrome-extension://abcdefghijklmnop", false),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop", true),
            ("safari-web-extension://*", "safari-web-extension://1b9c", true),
            ("tauri://localhost", "tauri://localhost", true),
        ] {
            assert_eq!(allows(allowed, origin), is_allowed, "{allowed}, {origin}");
        }
    }

    #[test]
    fn a_host_may_be_written_with_its_default_port() {
        for (origin, host, is_same) in [
            ("https://name.example", "name.example", true),
            ("https://name.example", "name.example:443", true),
            ("http://name.example", "NAME.example:80", true),
            ("https://name.example", "name.example:80", false),
            ("https://name.example:8443", "name.example", false),
            ("https://name.example:8443", "name.example:8443", true),
            ("http://[::1]:8000", "[::1]:8000", true),
            ("https://name.example", "", false),
        ] {
            let parsed: Origin = origin.parse().expect(origin);
            assert_eq!(parsed.is_of_host(host), is_same, "{origin}, {host}");
        }
    }
}
