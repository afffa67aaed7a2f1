//! One WebSocket: frames of the broker in, messages of packed frames out.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{ClientFrame, CloseCode, CloseRange, Codec, NotAFrame, ServerFrame};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message, Utf8Bytes};
use tokio_util::either::Either;
use tracing::warn;

use super::heard::Heard;
use super::tls;
use crate::failure::{Failure, FailureKind};
use crate::state::CloseReason;

/// Messages read in one go, before something else has its turn.
const READS_MAX: usize = 64;
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) type Socket = WebSocketStream<Heard<Either<TcpStream, tls::Stream>>>;

#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    codec: Codec,
    /// Whether something was handed to the socket that it has not written yet.
    flushing: bool,
}

/// Why a connection is gone.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// The broker closed it.
    Closed { code: CloseCode, reason: String },
    /// The connection broke.
    Failed(Failure),
}

impl Lost {
    /// Why there is no use in coming back, if there is none.
    pub(crate) fn final_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Closed { code, reason } if code.range() == CloseRange::StayAway => {
                Some(CloseReason::ByServer { code: *code, reason: reason.clone() })
            }
            Self::Closed { .. } | Self::Failed(_) => None,
        }
    }

    /// Whether the broker wants other credentials.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Closed { code: CloseCode::UNAUTHORIZED, .. })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } if reason.is_empty() => write!(f, "closed by the broker ({code})"),
            Self::Closed { code, reason } => write!(f, "closed by the broker ({code}: {reason})"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl Lost {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            closed @ Self::Closed { .. } => Failure::new(FailureKind::Closed, closed.to_string()),
        }
    }
}

impl From<WebSocketError> for Lost {
    fn from(error: WebSocketError) -> Self {
        Self::Failed(Failure::caused(FailureKind::Broken, "the connection failed", error))
    }
}

impl Wire {
    pub(crate) fn new(socket: Socket, codec: Codec) -> Self {
        Self { socket, codec, flushing: false }
    }

    /// When the broker was last heard of; pings count, and parts of messages.
    pub(crate) fn last_heard(&self) -> Instant {
        self.socket.get_ref().at()
    }

    /// Sends one frame by itself.
    pub(crate) async fn send(&mut self, frame: &ClientFrame<'_>) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        self.codec.encode_client(frame, &mut bytes);
        Ok(self.socket.send(self.message(bytes.into())).await?)
    }

    /// Waits for a message, and gives its frames to `take`.
    pub(crate) async fn receive(&mut self, take: impl FnMut(ServerFrame<'_>)) -> Result<(), Lost> {
        let message = self.socket.next().await;
        self.read(message, take)
    }

    /// Closes in good order, but not at any price.
    pub(crate) async fn close(mut self) {
        let handshake = async {
            let done = CloseFrame { code: coding::CloseCode::Normal, reason: Utf8Bytes::default() };
            if self.socket.close(Some(done)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // A broker that does not answer is left alone.
        drop(timeout(CLOSE_TIMEOUT, handshake).await);
    }

    /// Gives the frames that are there to `take`, until that is enough for now, as `is_enough` says. Returns whether
    /// anything was heard.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(ServerFrame<'_>),
        is_enough: impl Fn() -> bool,
    ) -> Result<bool, Lost> {
        for read in 0..READS_MAX {
            let Poll::Ready(message) = self.socket.poll_next_unpin(cx) else { return Ok(read > 0) };
            self.read(message, &mut take)?;
            if is_enough() {
                break;
            }
        }
        Ok(true)
    }

    /// Writes the messages that `next` gives, until it gives none, or the socket takes no more. Returns whether it gave
    /// any.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(Codec) -> Option<Bytes>,
    ) -> Result<bool, Lost> {
        let mut said = false;
        loop {
            if self.flushing {
                match self.socket.poll_flush_unpin(cx) {
                    Poll::Ready(flushed) => flushed?,
                    Poll::Pending => return Ok(said),
                }
                self.flushing = false;
            }
            let Some(bytes) = next(self.codec) else { return Ok(said) };
            // After a flush it is always ready.
            if let Poll::Ready(ready) = self.socket.poll_ready_unpin(cx) {
                ready?;
            }
            let message = self.message(bytes);
            self.socket.start_send_unpin(message)?;
            self.flushing = true;
            said = true;
        }
    }

    fn read(
        &mut self,
        message: Option<Result<Message, WebSocketError>>,
        take: impl FnMut(ServerFrame<'_>),
    ) -> Result<(), Lost> {
        let Some(message) = message else {
            return Err(Lost::Failed(Failure::new(FailureKind::Broken, "the connection broke off")));
        };
        let message = message?;
        match message {
            Message::Binary(_) | Message::Text(_) => {
                let bytes = message.into_data();
                let frames = self.codec.decode_server(&bytes).map_err(not_the_protocol)?;
                frames.into_iter().for_each(take);
                Ok(())
            }
            Message::Close(frame) => Err(match frame {
                Some(CloseFrame { code, reason }) => {
                    Lost::Closed { code: CloseCode::new(code.into()), reason: reason.to_string() }
                }
                None => {
                    Lost::Failed(Failure::new(FailureKind::Closed, "closed by the broker without a reason"))
                }
            }),
            Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    fn message(&self, bytes: Bytes) -> Message {
        match self.codec {
            Codec::Json => Message::Text(Utf8Bytes::try_from(bytes).expect("JSON frames are UTF-8")),
            Codec::MessagePack => Message::Binary(bytes),
        }
    }
}

/// The next connection will hear the same: people should know.
fn not_the_protocol(error: NotAFrame) -> Lost {
    warn!(%error, "the broker does not speak the protocol");
    Lost::Failed(Failure::caused(FailureKind::Protocol, "the broker does not speak the protocol", error))
}
