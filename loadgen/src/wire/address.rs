//! Where a broker listens, as its URL says.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tungstenite::http::Uri;

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) address: SocketAddr,
    /// The host as in the URL, for the `Host` header.
    pub(crate) host: String,
    /// The path of the URL, without a slash at its end.
    pub(crate) path: String,
    /// Whether it is reached by TLS.
    pub(crate) tls: bool,
}

impl ServerAddress {
    /// Resolves a `ws://` or `wss://` URL.
    pub(crate) async fn resolve(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => bail!("{url}: a URL such as ws://127.0.0.1:8000/ws is expected"),
        };
        let host = uri.host().with_context(|| format!("{url} names no host"))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
        let address = found.with_context(|| format!("cannot resolve {host}"))?.next();
        Ok(Self {
            address: address.with_context(|| format!("{host} has no address"))?,
            host: uri.authority().map_or_else(String::new, |authority| authority.as_str().to_owned()),
            path: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_are_resolved_and_wrong_ones_explained() {
        let server = ServerAddress::resolve("ws://127.0.0.1:8000/ws/").await.expect("valid");
        let address = "127.0.0.1:8000".parse().expect("an address");
        assert_eq!(
            server,
            ServerAddress { address, host: "127.0.0.1:8000".into(), path: "/ws".into(), tls: false }
        );
        let secured = ServerAddress::resolve("wss://127.0.0.1/ws").await.expect("valid");
        assert_eq!((secured.address.port(), secured.tls), (443, true));
        assert!(ServerAddress::resolve("ws://[::1]:9/ws").await.expect("valid").address.is_ipv6());
        for (url, why) in [("http://localhost/", "ws://"), ("not a url", "no URL")] {
            let error = ServerAddress::resolve(url).await.expect_err(url);
            assert!(error.to_string().contains(why), "{error} should say {why}");
        }
    }
}
