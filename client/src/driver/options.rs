//! How a connection is kept up.

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::limits::MESSAGE_BYTES_DEFAULT;

use crate::state::ConnectionState;
use crate::transport::DialOptions;

/// What the driver goes by.
#[derive(Clone)]
pub(crate) struct DriverOptions {
    pub(crate) dial: DialOptions,
    /// The ceiling of the first wait between two tries; it doubles with each, ...
    pub(crate) backoff_base: Duration,
    /// ... up to this.
    pub(crate) backoff_max: Duration,
    /// Most bytes of a WebSocket message of several frames.
    pub(crate) message_size: usize,
    /// How long a request waits for its reply, and a publish for its ack.
    pub(crate) request_timeout: Duration,
    pub(crate) on_state: Option<OnState>,
}

/// What a client tells of its state.
pub(crate) type OnState = Arc<dyn Fn(&ConnectionState) + Send + Sync>;

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            dial: DialOptions::default(),
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            message_size: MESSAGE_BYTES_DEFAULT,
            request_timeout: Duration::from_secs(30),
            on_state: None,
        }
    }
}
