//! How to connect.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::Codec;
use fanfare_protocol::limits::{CLIENT_NAME_BYTES_MAX, MESSAGE_BYTES_DEFAULT, TOKEN_BYTES_MAX};
use futures_util::FutureExt;
use rustls::ClientConfig;

use crate::client::Client;
use crate::endpoint::{Endpoint, without_secrets};
use crate::error::Error;
use crate::token::{BoxError, TokenSource};

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
    pub(crate) codec: Codec,
    pub(crate) token: TokenSource,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) publish_buffer: usize,
    pub(crate) publish_buffer_bytes: usize,
    pub(crate) subscription_buffer: usize,
    pub(crate) message_size: usize,
    pub(crate) attempt_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl ConnectOptions {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            codec: Codec::Json,
            token: TokenSource::None,
            name: None,
            version: None,
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            publish_buffer: 1024,
            publish_buffer_bytes: 64 << 20,
            subscription_buffer: 1024,
            message_size: MESSAGE_BYTES_DEFAULT,
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            tls: None,
        }
    }

    /// How frames are written; default [`Codec::Json`].
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Credentials that never change. When the broker refuses them the client closes.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = TokenSource::Fixed(token.into());
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
        self.token =
            TokenSource::Source(Arc::new(move || source().map(|token| token.map_err(Into::into)).boxed()));
        self
    }

    /// The client's name, for people who read the broker's logs; at most 64 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The client's version, for people who read the broker's logs; at most 64 bytes.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The wait before the n-th try to connect is random, between nothing and `base * 2^n`, at most `max`;
    /// default 500 ms and 20 s. A connection that lived for 30 s starts over.
    pub fn backoff(mut self, base: Duration, max: Duration) -> Self {
        (self.backoff_base, self.backoff_max) = (base, max);
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

    /// Waiting frames are packed together into WebSocket messages of so many bytes at most; default 64 KiB. The
    /// broker's own limit, which it tells, counts where it is smaller. A single publish may have what the broker
    /// allows: a larger one fails with [`Error::Refused`] and disturbs nothing else.
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// How long one try to connect may take, token and TLS included; default 10 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long [`connect`](Self::connect) goes on trying; default 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request waits for its reply, and a publish for its ack, reconnects included; default 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How `wss://` is secured: for a private certificate authority or client certificates. The default
    /// trusts what the operating system trusts.
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Connects, trying again where that may help.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad URL, name or token; [`Error::Closed`] when the broker refuses for good;
    /// [`Error::Timeout`] when [`connect_timeout`](Self::connect_timeout) has passed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the try and leaves nothing behind.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(self) -> Result<Client, Error> {
        let timeout = self.connect_timeout;
        let client = self.connect_lazy()?;
        client.connected_within(timeout).await?;
        Ok(client)
    }

    /// A client that connects in the background. Subscribing and publishing work at once, and wait.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad URL, name or token.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        let endpoint = Endpoint::parse(&self.url)?;
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            if text.as_ref().is_some_and(|text| text.len() > CLIENT_NAME_BYTES_MAX) {
                return Err(Error::Invalid(format!("{what} has at most {CLIENT_NAME_BYTES_MAX} bytes")));
            }
        }
        if matches!(&self.token, TokenSource::Fixed(token) if token.len() > TOKEN_BYTES_MAX) {
            return Err(Error::Invalid(format!("a token has at most {TOKEN_BYTES_MAX} bytes")));
        }
        Ok(Client::start(endpoint, self))
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &without_secrets(&self.url))
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
