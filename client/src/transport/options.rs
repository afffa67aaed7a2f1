//! How one connection is made.

use std::time::Duration;

use fanfare_protocol::Codec;

use super::proxy::Proxies;
use super::tls::Trust;
use super::token::TokenSource;

/// What every try to connect goes by.
#[derive(Clone)]
pub(crate) struct DialOptions {
    pub(crate) codec: Codec,
    pub(crate) token: TokenSource,
    /// The client's name, for people who read the broker's logs.
    pub(crate) name: Option<String>,
    /// The client's version, for the same people.
    pub(crate) version: Option<String>,
    /// How long one try may take.
    pub(crate) attempt_timeout: Duration,
    pub(crate) trust: Trust,
    pub(crate) proxies: Proxies,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Json,
            token: TokenSource::None,
            name: None,
            version: None,
            attempt_timeout: Duration::from_secs(10),
            trust: Trust::default(),
            proxies: Proxies::default(),
        }
    }
}
