//! The way through an HTTP proxy (RFC 9110, section 9.3.6: `CONNECT`).

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::join;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::endpoint::{Endpoint, port, without_secrets};
use super::reach::reach;
use super::token::BoxError;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};

/// Which hosts are reached through a proxy, and through which.
#[derive(Debug, Clone, Default)]
pub(crate) enum Proxies {
    /// As the environment says: `HTTPS_PROXY` for `wss://`, `HTTP_PROXY` for `ws://`, `ALL_PROXY` for both, but for
    /// the hosts in `NO_PROXY` and this machine itself.
    #[default]
    Environment,
    None,
    /// Through this one, whatever the host.
    One(String),
}

impl Proxies {
    pub(crate) fn one(url: &str) -> Result<Self, Error> {
        let bad = |why: &str| {
            Error::invalid_text(format!("\"{}\" is no URL of a proxy: {why}", without_secrets(url)))
        };
        match url.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") => {
                let authority = uri.authority().filter(|authority| !authority.host().is_empty());
                port(authority.ok_or_else(|| bad("it names no host"))?).map_err(bad)?;
                // What stands behind the host is part of a password that was not written as a URL has it.
                match uri.path() {
                    "" | "/" if uri.query().is_none() && !url.contains('#') => Ok(Self::One(url.to_owned())),
                    _ => Err(bad("http://HOST:PORT is expected, with nothing behind it")),
                }
            }
            Ok(_) => Err(bad("http://HOST:PORT is expected")),
            Err(e) => Err(bad(&e.to_string())),
        }
    }

    /// The proxy on the way to the broker, if there is one.
    pub(crate) fn on_the_way(&self, endpoint: &Endpoint) -> Option<Intercept> {
        let matcher = match self {
            Self::Environment if is_this_machine(&endpoint.host) => return None,
            Self::Environment => Matcher::from_env(),
            Self::None => return None,
            Self::One(url) => Matcher::builder().all(url.as_str()).build(),
        };
        let scheme = if endpoint.tls { "https" } else { "http" };
        let mut parts = endpoint.uri.clone().into_parts();
        parts.scheme = Some(scheme.parse().expect("a scheme"));
        matcher.intercept(&Uri::from_parts(parts).ok()?)
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A connection to the broker through the proxy.
///
/// # Errors
/// What kept the proxy from being reached, or the status with which it refused.
pub(crate) async fn tunnel(proxy: &Intercept, endpoint: &Endpoint) -> Result<TcpStream, Failure> {
    let uri = proxy.uri();
    let shown = without_secrets(&uri.to_string());
    let failed = |what: &str| Failure::new(FailureKind::Proxy, format!("the proxy {shown} {what}"));
    if uri.scheme_str() != Some("http") {
        return Err(failed("is none that is understood: http://HOST:PORT is expected"));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let caused = |e: BoxError| Failure::caused(FailureKind::Proxy, format!("the proxy {shown}"), e);
    let tcp = reach(host, uri.port_u16().unwrap_or(80)).await.map_err(|e| caused(e.into()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(|e| caused(e.into()))?;
    let target = match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    };
    let mut request = Request::connect(&target).header(HOST, &target);
    if let Some(credentials) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| caused(e.into()))?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(|e| caused(e.into()))?;
        match response.status() {
            status if status.is_success() => hyper::upgrade::on(response).await.map_err(|e| caused(e.into())),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(failed("wants credentials (HTTP 407)")),
            status => Err(failed(&format!("answered with HTTP {}", status.as_u16()))),
        }
    };
    let (tunnel, _) = join(exchange, connection.with_upgrades()).await;
    let parts = tunnel?.downcast::<TokioIo<TcpStream>>().expect("this is what the connection was made of");
    match parts.read_buf.is_empty() {
        true => Ok(parts.io.into_inner()),
        false => Err(Failure::new(FailureKind::Proxy, "the proxy sent more than its answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_without_the_environments_proxy_but_through_one_that_is_named() {
        let endpoint = |url| Endpoint::parse(url).expect("a URL");
        for url in ["ws://localhost:8000", "ws://127.0.0.1", "wss://[::1]:443", "ws://127.1.2.3"] {
            assert!(Proxies::Environment.on_the_way(&endpoint(url)).is_none(), "{url}");
            let one = Proxies::one("http://user:pass@proxy:3128").expect("a URL");
            let proxy = one.on_the_way(&endpoint(url)).expect("it is named");
            assert_eq!((proxy.uri().host(), proxy.uri().port_u16()), (Some("proxy"), Some(3128)));
            assert!(proxy.basic_auth().is_some());
            assert!(Proxies::None.on_the_way(&endpoint(url)).is_none());
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_its_password_not_repeated() {
        for url in [
            "",
            "proxy:3128",
            "https://user:secret@proxy",
            "socks5://proxy",
            "http://user:secret@",
            "http://user:secret@proxy:99999",
            "http://user:sec?secret@proxy",
            "http://user:#secret@proxy",
        ] {
            let error = Proxies::one(url).expect_err(url).to_string();
            assert!(error.contains("is no URL of a proxy") && !error.contains("secret"), "{error}");
        }
    }
}
