//! What the broker answers: to a publish, and to whoever asks for the past.

use fanfare_protocol::Position;

use crate::event::Publication;

/// What the broker said of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Where the publication stands.
    pub position: Position,
    /// Whether it stood there before, published earlier under the same `message_id`.
    pub duplicate: bool,
}

impl Published {
    pub(crate) fn new(position: Position, duplicate: bool) -> Self {
        Self { position, duplicate }
    }
}

/// Publications of the past: at most 1,000, or 1 MiB, whatever was asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The topic's newest position.
    pub position: Position,
    /// The publications, oldest first.
    pub publications: Vec<Publication>,
}

impl History {
    /// After what there is more of the past, as one reply did not hold all since the position that was asked for: ask
    /// again [since](crate::HistoryRequest::since) there. `None` where the newest publication is among these.
    pub fn rest(&self) -> Option<Position> {
        let last = self.publications.last()?.position;
        (last.offset < self.position.offset).then_some(last)
    }

    pub(crate) fn new(position: Position, publications: Vec<Publication>) -> Self {
        Self { position, publications }
    }
}
