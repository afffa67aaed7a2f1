//! What a message asks for.

use fanfare_protocol::{ClientFrame, CloseCode, FrameError};

/// A WebSocket message.
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

/// A message that ends the connection.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
    /// Whether the reason is said before, as a reply.
    pub(crate) is_said: bool,
}
