//! A WebSocket message, and the frames that it asks for, whatever it was written in.

use fanfare_protocol::{ClientFrame, CloseCode, FrameError};

/// A WebSocket message as a whole, which stands in the buffer it was read into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WebSocketMessage<'m> {
    Text(&'m str),
    Binary(&'m [u8]),
}

/// One frame as it was read, or what is wrong with it.
pub(crate) type FrameResult<'m> = Result<ClientFrame<'m>, FrameError>;

/// The frames of a message, in its order.
#[derive(Debug)]
pub(crate) enum ClientFrames<'m> {
    One(Option<ClientFrame<'m>>),
    Many(std::vec::IntoIter<FrameResult<'m>>),
}

impl<'m> Iterator for ClientFrames<'m> {
    type Item = FrameResult<'m>;

    fn next(&mut self) -> Option<FrameResult<'m>> {
        match self {
            Self::One(frame) => frame.take().map(Ok),
            Self::Many(frames) => frames.next(),
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
