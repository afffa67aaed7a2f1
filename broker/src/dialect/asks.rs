//! What a message asks for, whatever it was written in.

use fanfare_protocol::{ClientFrame, CloseCode, FrameError};

/// A WebSocket message as a whole, which stands in the buffer it was read into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message<'m> {
    Text(&'m str),
    Binary(&'m [u8]),
}

/// Something that is asked for, or what is wrong with it.
pub(crate) type Ask<'m> = Result<ClientFrame<'m>, FrameError>;

/// What a message asks for, in its order.
#[derive(Debug)]
pub(crate) enum Asks<'m> {
    One(Option<ClientFrame<'m>>),
    Many(std::vec::IntoIter<Ask<'m>>),
}

impl<'m> Iterator for Asks<'m> {
    type Item = Ask<'m>;

    fn next(&mut self) -> Option<Ask<'m>> {
        match self {
            Self::One(ask) => ask.take().map(Ok),
            Self::Many(asks) => asks.next(),
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
