//! Where a broker is: its URL, taken apart.

use tokio_tungstenite::tungstenite::http::uri::Authority;
use tokio_tungstenite::tungstenite::http::{HeaderMap, Uri};

use crate::error::Error;

/// The path of the native WebSocket endpoint, where the URL names none.
const DEFAULT_PATH: &str = "/ws";

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// What the handshake asks for; its scheme is `ws` or `wss`.
    pub(crate) uri: Uri,
    /// The host to look up; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// What the handshake bears besides.
    pub(crate) headers: HeaderMap,
}

impl Endpoint {
    /// Understands `ws`, `wss`, `http` and `https` URLs.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let shown = without_secrets(url);
        let bad = |why: &str| Error::invalid_text(format!("\"{shown}\" is no URL of a broker: {why}"));
        let uri: Uri = url.parse().map_err(|e| bad(&format!("{e}")))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(bad("it must begin with ws://, wss://, http:// or https://")),
        };
        let Some(authority) = uri.authority() else { return Err(bad("it names no host")) };
        if authority.as_str().contains('@') {
            return Err(bad("credentials go into the token, not into the URL"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let port = port(authority).map_err(bad)?.unwrap_or(if tls { 443 } else { 80 });
        let target = match uri.path_and_query() {
            None => DEFAULT_PATH.to_owned(),
            Some(target) if target.path() == "/" => match target.query() {
                Some(query) => format!("{DEFAULT_PATH}?{query}"),
                None => DEFAULT_PATH.to_owned(),
            },
            Some(target) => target.to_string(),
        };
        let uri = Uri::builder()
            .scheme(if tls { "wss" } else { "ws" })
            .authority(authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|e| bad(&e.to_string()))?;
        Ok(Self { uri, host, port, tls, headers: HeaderMap::new() })
    }
}

/// The port that an authority names, if it names one; where it is no number of 16 bits `Uri` passes over it.
pub(crate) fn port(authority: &Authority) -> Result<Option<u16>, &'static str> {
    let text = authority.as_str();
    let named =
        text[text.find(authority.host()).unwrap_or(0) + authority.host().len()..].trim_start_matches(':');
    match authority.port_u16() {
        None if !named.is_empty() => Err("its port is no number from 1 to 65535"),
        port => Ok(port),
    }
}

/// The URL for people: without what may be credentials, also where it is no good URL.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").map_or(("", url), |(scheme, rest)| (&url[..scheme.len() + 3], rest));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (before, after) = rest.split_at(end);
    match before.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}...@{host}{}", if after.is_empty() { "" } else { "?..." }),
        // A password may hold a '?'.
        None if after.contains('@') => format!("{scheme}..."),
        None => format!("{scheme}{before}{}", if after.is_empty() { "" } else { "?..." }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, uri, host, port, tls) in [
            ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000/ws", "127.0.0.1", 8000, false),
            ("ws://localhost/", "ws://localhost/ws", "localhost", 80, false),
            ("http://localhost:8000/live/ws", "ws://localhost:8000/live/ws", "localhost", 8000, false),
            ("https://rt.example.com?a=1", "wss://rt.example.com/ws?a=1", "rt.example.com", 443, true),
            ("wss://[::1]:9000", "wss://[::1]:9000/ws", "::1", 9000, true),
        ] {
            let endpoint = Endpoint::parse(url).expect(url);
            assert_eq!(endpoint.uri.to_string(), uri);
            assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.tls), (host, port, tls));
        }
    }

    #[test]
    fn what_is_no_url_of_a_broker_is_refused_with_a_reason() {
        for url in [
            "",
            "localhost:8000",
            "ftp://localhost",
            "ws://",
            "ws:///ws",
            "ws://alice:secret@localhost",
            "ws://localhost:80000",
            "ws://[::1]:x",
            "wss://localhost:abc/ws",
        ] {
            let error = Endpoint::parse(url).expect_err(url).to_string();
            assert!(
                error.starts_with(&format!("\"{}\" is no URL of a broker: ", without_secrets(url))),
                "{error}"
            );
        }
    }

    #[test]
    fn no_credentials_are_shown() {
        for (url, shown) in [
            ("ws://localhost:8000/ws", "ws://localhost:8000/ws"),
            ("ws://alice:secret@localhost/ws?token=secret", "ws://...@localhost/ws?..."),
            ("alice:secret@localhost", "...@localhost"),
            ("wss://localhost?token=a?b", "wss://localhost?..."),
            ("wss://localhost?token=a?b@secret", "wss://..."),
            ("ws://alice:se?cret@localhost", "ws://..."),
            ("alice:se#cret@localhost", "..."),
            ("ws://localhost/ws#token=secret", "ws://localhost/ws?..."),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
