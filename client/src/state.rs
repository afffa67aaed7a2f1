//! What a connection is doing, and why one ended.

use std::fmt;
use std::time::Duration;

use fanfare_protocol::{CloseCode, ErrorCode};
use tokio::sync::watch;

use crate::failure::Failure;

/// What a client's connection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// There is no connection and there will be none.
    Closed(CloseReason),
    /// Subscriptions are live, publishes are sent.
    Connected(ConnectionInfo),
    /// A connection is being made.
    Connecting {
        /// What became of the try before this one.
        last_failure: Option<Failure>,
    },
    /// The last connection, or the last try to make one, failed: another try follows.
    Waiting {
        /// How long from now.
        retry_in: Duration,
        /// What failed.
        failure: Failure,
    },
}

impl ConnectionState {
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        match self {
            Self::Closed(_) | Self::Connected(_) => None,
            Self::Connecting { last_failure } => last_failure.clone(),
            Self::Waiting { failure, .. } => Some(failure.clone()),
        }
    }
}

/// Follows what a client's connection is doing; made by [`Client::state_changes`](crate::Client::state_changes).
///
/// A state that another one follows at once may be left out; the last one never is.
#[derive(Debug, Clone)]
pub struct StateChanges(watch::Receiver<ConnectionState>);

impl StateChanges {
    pub(crate) fn new(mut states: watch::Receiver<ConnectionState>) -> Self {
        // The present one is the first.
        states.mark_changed();
        Self(states)
    }

    /// The present state at first, then each that follows; `None` after [`ConnectionState::Closed`].
    ///
    /// # Cancel safety
    /// No state is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ConnectionState> {
        // The sender is gone as well once the client is closed, and what it sent last was not read yet, or was.
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }

    /// The first state from now on, the present one included, that `is_wanted`; `None` when the client closes without.
    ///
    /// # Cancel safety
    /// No state is lost when the future is dropped.
    pub async fn wait_for(
        &mut self,
        is_wanted: impl FnMut(&ConnectionState) -> bool,
    ) -> Option<ConnectionState> {
        self.0.wait_for(is_wanted).await.ok().map(|state| state.clone())
    }
}

/// What the broker said of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection's name in the broker's logs.
    pub connection: String,
    /// Who the credentials say this is.
    pub user: Option<String>,
    /// The broker's name and version.
    pub server: String,
}

/// Why a client or a subscription ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The broker closed the connection with a code that says not to come back unchanged.
    ByServer {
        /// The WebSocket close code.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// [`Client::drain`](crate::Client::drain) was called.
    Drained,
    /// The broker, or something before it, answered the WebSocket handshake with this HTTP status.
    Handshake {
        /// 300 to 499: redirects are not followed.
        status: u16,
    },
    /// The broker ended the subscription, or would not have it again after a reconnect.
    Refused {
        /// Why, as the protocol says it; the broker may say none.
        code: Option<ErrorCode>,
        /// Why, for people.
        message: String,
    },
    /// Its client stopped: [`Client::close`](crate::Client::close) was called, every handle is gone, or the runtime it
    /// ran in ended.
    Stopped,
    /// The subscription's reader fell behind by more than its buffer, and its
    /// [`OnLag`](fanfare_protocol::OnLag) is `Disconnect`.
    TooSlow,
    /// The credentials were refused, fresh ones too where there is a source of them.
    Unauthorized(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer { code, reason } if reason.is_empty() => {
                write!(f, "the broker closed it ({code})")
            }
            Self::ByServer { code, reason } => write!(f, "the broker closed it ({code}: {reason})"),
            Self::Drained => f.write_str("drained"),
            Self::Handshake { status } => write!(f, "the handshake was answered with HTTP {status}"),
            Self::Refused { code: None, message } => write!(f, "the broker ended it: {message}"),
            Self::Refused { code: Some(code), message } => {
                write!(f, "the broker ended it ({code}: {message})")
            }
            Self::Stopped => f.write_str("its client stopped"),
            Self::TooSlow => f.write_str("its reader was too slow"),
            Self::Unauthorized(why) => write!(f, "the credentials were refused: {why}"),
        }
    }
}
