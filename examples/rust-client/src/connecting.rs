//! Making a connection, and what may stand in its way.

use std::io;
use std::path::Path;
use std::time::Duration;

use fanfare_client::{Client, Error};

/// With credentials; tries for 30 s where nobody is there.
pub async fn connect(url: &str, token: &str) -> Result<Client, Error> {
    Client::builder(url).token(token).name("orders").connect().await
}

/// Fails where nobody is there.
pub async fn connect_at_once(url: &str) -> Result<Client, Error> {
    Client::builder(url).fail_fast(true).attempt_timeout(Duration::from_secs(2)).connect().await
}

/// Trusts a certificate authority of one's own.
pub async fn connect_trusting(url: &str, authority: &Path) -> Result<Client, Error> {
    Client::builder(url).root_certificates(authority).connect().await
}

/// Through an HTTP proxy.
pub async fn connect_through(url: &str, proxy: &str) -> Result<Client, Error> {
    Client::builder(url).proxy(proxy).connect().await
}

/// With credentials that are asked for anew.
pub async fn connect_with_fresh_tokens(url: &str) -> Result<Client, Error> {
    Client::builder(url).token_source(fetch_token).connect().await
}

/// Stands for a request to whoever makes tokens.
pub async fn fetch_token() -> io::Result<String> {
    Ok("a-token-of-an-hour".to_owned())
}
