//! How far a connection could take what there was for it.

use crate::topic::ring::Cursor;

/// The end that writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PumpEnd {
    /// The socket takes no more for now.
    Blocked,
    /// Nothing is left to write.
    Done,
    /// Something is left, but others should have their turn.
    Yield,
}

/// What became of a batch that a connection was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// The socket takes no more for now, or enough waits for it; it has begun to get nothing `from` there on.
    Blocked { from: Cursor },
    /// There was nothing in it for this one.
    Nothing,
    /// What there was waits in the outbox.
    Queued,
    /// What there was is with the kernel.
    Written,
}
