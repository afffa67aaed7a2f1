//! How to connect.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::Codec;
use fanfare_protocol::limits::{CLIENT_NAME_BYTES_MAX, TOKEN_BYTES_MAX};
use futures_util::FutureExt;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use super::client::Client;
use crate::driver::DriverOptions;
use crate::error::Error;
use crate::state::ConnectionState;
use crate::transport::{BoxError, Endpoint, Proxies, TokenSource, without_secrets};

/// How a [`Client`] connects: made by [`Client::builder`], used by [`connect`](Self::connect).
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let broker = fanfare::Broker::start(fanfare::Config::for_tests()).await?;
/// # let url = format!("ws://{}", broker.public_addr());
/// # async fn fresh_token() -> Result<String, std::io::Error> { Ok("token".to_owned()) }
/// use fanfare_client::{Client, Codec};
///
/// let client = Client::builder(&url)
///     .codec(Codec::MessagePack)
///     .name("orders")
///     .token_source(|| async { fresh_token().await })
///     .connect()
///     .await?;
/// client.ping().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until connect() is called"]
pub struct ConnectOptions {
    url: String,
    pub(crate) driver: DriverOptions,
    pub(crate) publish_buffer: usize,
    pub(crate) publish_buffer_bytes: usize,
    pub(crate) subscription_buffer: usize,
    pub(crate) subscription_buffer_bytes: usize,
    connect_timeout: Duration,
    #[cfg_attr(not(feature = "_tls"), expect(dead_code, reason = "there is nothing to trust"))]
    root_files: Vec<PathBuf>,
    headers: Vec<(String, String)>,
    proxy: Option<String>,
    fail_fast: bool,
}

impl ConnectOptions {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            driver: DriverOptions::default(),
            publish_buffer: 1024,
            publish_buffer_bytes: 64 << 20,
            subscription_buffer: 1024,
            subscription_buffer_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(30),
            root_files: Vec::new(),
            headers: Vec::new(),
            proxy: None,
            fail_fast: false,
        }
    }

    /// How frames are written; default [`Codec::Json`].
    pub fn codec(mut self, codec: Codec) -> Self {
        self.driver.dial.codec = codec;
        self
    }

    /// Credentials that never change. When the broker refuses them the client closes.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.driver.dial.token = TokenSource::Fixed(token.into());
        self
    }

    /// Where credentials come from: called anew for every connection, when the broker refused the last
    /// ones, and before they expire, where the broker says when.
    ///
    /// An error is a failed try to connect: another one follows. When the broker refuses fresh
    /// credentials twice in a row the client closes.
    pub fn token_source<F, R, E>(mut self, source: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.driver.dial.token =
            TokenSource::Source(Arc::new(move || source().map(|token| token.map_err(Into::into)).boxed()));
        self
    }

    /// The client's name, for people who read the broker's logs; at most 64 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.driver.dial.name = Some(name.into());
        self
    }

    /// The client's version, for people who read the broker's logs; at most 64 bytes.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.driver.dial.version = Some(version.into());
        self
    }

    /// The wait before the n-th try to connect is random, between nothing and `base * 2^n`, at most `max`;
    /// default 500 ms and 20 s. A connection that lived for 30 s starts over.
    pub fn backoff(mut self, base: Duration, max: Duration) -> Self {
        (self.driver.backoff_base, self.driver.backoff_max) = (base, max);
        self
    }

    /// Most publishes without an ack at a time, at least 1; default 1,024. Beyond that
    /// [`PublishRequest::send`](crate::PublishRequest::send) waits and
    /// [`try_send`](crate::PublishRequest::try_send) fails.
    ///
    /// All of them may have to be sent again: within the broker's `duplicate_window` (2 minutes by default)
    /// none is stored twice.
    pub fn publish_buffer(mut self, count: usize) -> Self {
        self.publish_buffer = count;
        self
    }

    /// Most bytes of payloads without an ack at a time; default 64 MiB. A larger payload is sent when
    /// nothing else is waiting.
    pub fn publish_buffer_bytes(mut self, bytes: usize) -> Self {
        self.publish_buffer_bytes = bytes;
        self
    }

    /// Most events that wait for a subscription's reader, at least 1; default 1,024. See
    /// [`SubscribeRequest::capacity`](crate::SubscribeRequest::capacity).
    pub fn subscription_buffer(mut self, count: usize) -> Self {
        self.subscription_buffer = count;
        self
    }

    /// Most bytes of events that wait for the readers of all subscriptions together; default 64 MiB. Beyond that
    /// whoever holds most is treated as one whose [capacity](crate::SubscribeRequest::capacity) is used up. A payload
    /// counts for each subscription that it waits in, though they share it. The newest event of each is kept in any case.
    pub fn subscription_buffer_bytes(mut self, bytes: usize) -> Self {
        self.subscription_buffer_bytes = bytes;
        self
    }

    /// Waiting frames are packed together into WebSocket messages of so many bytes at most; default 64 KiB. The
    /// broker's own limit, which it tells, counts where it is smaller. A single publish may have what the broker
    /// allows: a larger one fails with [`Error::Refused`] and disturbs nothing else.
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.driver.message_size = bytes;
        self
    }

    /// How long one try to connect may take, token and TLS included; default 10 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.driver.dial.attempt_timeout = timeout;
        self
    }

    /// How long [`connect`](Self::connect) goes on trying; default 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request waits for its reply, and a publish for its ack, reconnects included; default 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.driver.request_timeout = timeout;
        self
    }

    /// Whether [`connect`](Self::connect) gives up with [`Error::NotConnected`] after the first try, instead of trying
    /// until [`connect_timeout`](Self::connect_timeout) has passed; default false. What breaks later is connected again
    /// either way.
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// Trusts the certificates of a PEM file besides what the operating system trusts: for a private certificate
    /// authority. The file is read once, when the client is made; ignored where there is a [`tls`](Self::tls) of your
    /// own.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "ring", feature = "aws-lc-rs"))))]
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_files.push(path.into());
        self
    }

    /// How `wss://` is secured, in all detail: for client certificates and the like. It alone counts then, whatever
    /// [`root_certificates`](Self::root_certificates) were given. The default trusts what the operating system trusts.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "ring", feature = "aws-lc-rs"))))]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.driver.dial.trust.config = Some(config);
        self
    }

    /// Adds a header to the WebSocket handshake, for what stands in front of the broker; credentials for the broker
    /// itself are [`token`](Self::token)s.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The `Origin` of the handshake, for a broker that lets only some pages in; default none, as for any client that
    /// is no page.
    pub fn origin(self, origin: impl Into<String>) -> Self {
        self.header("origin", origin)
    }

    /// Connects through this HTTP proxy (`http://HOST:PORT`, with `USER:PASSWORD@` where it asks for that).
    ///
    /// The default is what the environment says, as for curl: `HTTPS_PROXY` for `wss://`, `HTTP_PROXY` for `ws://`,
    /// `ALL_PROXY` for both, but for the hosts in `NO_PROXY`; and never for this machine itself.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Connects without a proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        (self.driver.dial.proxies, self.proxy) = (Proxies::None, None);
        self
    }

    /// Calls `callback` with each state that the connection comes to, beginning with the second. It runs in the
    /// client's task, so it must not block; one that panics ends the client. See also
    /// [`Client::state_changes`].
    pub fn on_state_change(mut self, callback: impl Fn(&ConnectionState) + Send + Sync + 'static) -> Self {
        self.driver.on_state = Some(Arc::new(callback));
        self
    }

    /// Connects, trying again where that may help.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that cannot be right, a bad URL above all; [`Error::Closed`] when the broker
    /// refuses for good; [`Error::Timeout`] when [`connect_timeout`](Self::connect_timeout) has passed, or
    /// [`Error::NotConnected`] after the first try where it is to [fail fast](Self::fail_fast).
    ///
    /// # Cancel safety
    /// Dropping the future ends the try and leaves nothing behind.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(self) -> Result<Client, Error> {
        let (timeout, fail_fast) = (self.connect_timeout, self.fail_fast);
        let client = self.connect_lazy()?;
        client.connected_within(timeout, fail_fast).await?;
        Ok(client)
    }

    /// A client that connects in the background. Subscribing and publishing work at once, and wait.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that cannot be right: a bad URL, name, token, header or proxy, root certificates
    /// that cannot be read, `wss://` without TLS built in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_lazy(mut self) -> Result<Client, Error> {
        let mut endpoint = Endpoint::parse(&self.url)?;
        endpoint.headers = handshake_headers(&self.headers)?;
        let dial = &mut self.driver.dial;
        if let Some(url) = &self.proxy {
            dial.proxies = Proxies::one(url)?;
        }
        #[cfg(feature = "_tls")]
        for path in &self.root_files {
            dial.trust.add_file(path)?;
        }
        if endpoint.tls && !cfg!(feature = "_tls") {
            return Err(Error::invalid_text(
                "wss:// needs the feature \"ring\" or \"aws-lc-rs\" of fanfare-client",
            ));
        }
        for (what, text) in [("name", &dial.name), ("version", &dial.version)] {
            if text.as_ref().is_some_and(|text| text.len() > CLIENT_NAME_BYTES_MAX) {
                return Err(Error::invalid_text(format!("{what} has at most {CLIENT_NAME_BYTES_MAX} bytes")));
            }
        }
        if matches!(&dial.token, TokenSource::Fixed(token) if token.len() > TOKEN_BYTES_MAX) {
            return Err(Error::invalid_text(format!("a token has at most {TOKEN_BYTES_MAX} bytes")));
        }
        Ok(Client::start(endpoint, self))
    }
}

/// What the handshake bears besides what makes it one.
fn handshake_headers(given: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let header =
            HeaderName::try_from(name).map_err(|e| Error::invalid(&format!("the header {name:?}"), e))?;
        if is_of_the_handshake(&header) {
            return Err(Error::invalid_text(format!("the header {name:?} is made by the handshake itself")));
        }
        // Not shown: it may be a secret.
        let mut value =
            HeaderValue::try_from(value).map_err(|e| Error::invalid(&format!("the value of {name:?}"), e))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

fn is_of_the_handshake(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "host" | "upgrade") || name.as_str().starts_with("sec-websocket-")
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &without_secrets(&self.url))
            .field("codec", &self.driver.dial.codec)
            .finish_non_exhaustive()
    }
}
