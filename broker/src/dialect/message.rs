//! A WebSocket message, and the frames that it asks for, whatever it was written in.

use fanfare_protocol::{ClientFrame, CloseCode, FrameError, RequestId};

use crate::operation::Denied;

/// A WebSocket message as a whole, which stands in the buffer it was read into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WebSocketMessage<'m> {
    Text(&'m str),
    Binary(&'m [u8]),
}

/// One frame as it was read, or why it is refused whatever it asks for.
pub(crate) type FrameResult<'m> = Result<ClientFrame<'m>, RefusedFrame>;

/// A frame of which nothing is carried out, which is said in its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedFrame {
    pub(crate) id: Option<RequestId>,
    /// The topic as it was written, where it could be read and is not too long to repeat.
    pub(crate) topic: Option<String>,
    pub(crate) denied: Denied,
}

impl From<FrameError> for RefusedFrame {
    fn from(FrameError { id, topic, code, message }: FrameError) -> Self {
        Self { id, topic, denied: Denied::new(code, message) }
    }
}

/// The frames of a message, in its order.
#[derive(Debug)]
pub(crate) enum ClientFrames<'m> {
    One(Option<ClientFrame<'m>>),
    Many(std::vec::IntoIter<Result<ClientFrame<'m>, FrameError>>),
}

impl<'m> Iterator for ClientFrames<'m> {
    type Item = FrameResult<'m>;

    fn next(&mut self) -> Option<FrameResult<'m>> {
        match self {
            Self::One(frame) => frame.take().map(Ok),
            Self::Many(frames) => frames.next().map(|frame| frame.map_err(RefusedFrame::from)),
        }
    }
}

/// Why a message ends its connection.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
    /// Whether the reason is said before, as a reply.
    pub(crate) is_said: bool,
}
