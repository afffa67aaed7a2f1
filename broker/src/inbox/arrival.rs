//! What may come to a worker, and how much of each kind.

use super::count::Count;
use super::inquiry::Inquiry;
use super::questions::{Asker, CLAIMS_MAX, Claim};
use super::socket::Socket;
use crate::answer::{Outcome, Ticket};

/// Sockets that may wait for one worker to take them.
const SOCKETS_WAITING_MAX: usize = 1024;
/// Questions to a worker that may wait for it.
const ASKS_WAITING_MAX: usize = 16;
/// Inquiries of operators that may wait for one worker: each of their connections waits for one at a time.
const INQUIRIES_WAITING_MAX: usize = 64;
/// Sockets that a worker takes in before its other tasks have had their turn.
const SOCKETS_A_CYCLE: usize = 8;
/// Answers that a worker takes in before its other tasks have had their turn.
const ANSWERS_A_CYCLE: usize = 128;

/// Something that comes to a worker from another thread. A kind is a variant here, its bounds in [`Kind`], and what the
/// worker does with it.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// An answer that one of its connections waits for.
    Answer(Answered),
    /// A socket that it is to serve.
    Adopt(Socket),
    /// A question about its connections.
    Ask(Count),
    /// Some grants are revoked: whoever has one is to go.
    Revoke,
    /// What an operator wants to be looked at or done.
    Inquire(Inquiry),
}

/// An answer, and who has asked under which ticket.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) asker: Asker,
    pub(crate) ticket: Ticket,
    pub(super) claim: Claim,
    pub(crate) outcome: Outcome,
}

/// The kinds, each of which has a lane of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Answer,
    Adopt,
    Ask,
    Revoke,
    Inquire,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 5] = [Self::Answer, Self::Adopt, Self::Ask, Self::Revoke, Self::Inquire];

    /// How many may wait to be taken in.
    pub(super) const fn waiting_max(self) -> usize {
        match self {
            // Each has a ticket, of which there are no more.
            Self::Answer => CLAIMS_MAX,
            Self::Adopt => SOCKETS_WAITING_MAX,
            Self::Ask => ASKS_WAITING_MAX,
            // One that waits is as good for those who come after it: the grants say who is revoked.
            Self::Revoke => 1,
            Self::Inquire => INQUIRIES_WAITING_MAX,
        }
    }

    /// How many are taken in before the worker's other tasks have their turn.
    pub(super) const fn a_cycle(self) -> usize {
        match self {
            Self::Answer => ANSWERS_A_CYCLE,
            Self::Adopt => SOCKETS_A_CYCLE,
            Self::Ask | Self::Revoke | Self::Inquire => 1,
        }
    }

    /// Whether the worker has to walk over all its connections for it.
    pub(super) const fn is_walk(self) -> bool {
        matches!(self, Self::Ask | Self::Revoke)
    }
}

impl Arrival {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Answer(_) => Kind::Answer,
            Self::Adopt(_) => Kind::Adopt,
            Self::Ask(_) => Kind::Ask,
            Self::Revoke => Kind::Revoke,
            Self::Inquire(_) => Kind::Inquire,
        }
    }
}
