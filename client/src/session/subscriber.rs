//! One [`Subscription`](crate::Subscription), as the session sees it.

use std::mem;

use fanfare_protocol::{Offset, Position};

use crate::channel::{QueueWriter, Reply, Start, SubscriberId};
use crate::error::Error;
use crate::state::CloseReason;

/// Shares a topic's subscription on the wire with others.
pub(crate) struct Subscriber {
    pub(crate) id: SubscriberId,
    pub(crate) echo: bool,
    pub(crate) queue: QueueWriter,
    /// Up to here it has had everything, or was told what it missed.
    pub(crate) seen: Offset,
    pub(crate) stage: Stage,
}

pub(crate) enum Stage {
    /// The past is being fetched; what is live is part of it. `reply` is taken with the first part.
    Filling {
        start: Start,
        reply: Option<Reply<Position>>,
        /// The history is asked for from its begin on, in parts.
        whole_history: bool,
    },
    /// Waits for `subscribed`; `opened` when the wire asked for what this one wanted.
    Joining {
        opened: bool,
        reply: Reply<Position>,
    },
    Live,
}

impl Subscriber {
    pub(crate) fn wants(&self, offset: Offset, own: bool) -> bool {
        matches!(self.stage, Stage::Live) && self.seen < offset && (self.echo || !own)
    }

    /// A subscriber that was waiting for `subscribed` has it; returns whether it was the one that had
    /// opened the topic.
    pub(crate) fn go_live(&mut self, head: Position, begin: Position) -> Option<bool> {
        match mem::replace(&mut self.stage, Stage::Live) {
            Stage::Joining { opened, reply } => {
                let position = if opened { begin } else { head };
                self.seen = position.offset;
                reply.send(Ok(position));
                Some(opened)
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    pub(crate) fn refuse(self, error: &Error) {
        match self.stage {
            Stage::Filling { reply: Some(reply), .. } | Stage::Joining { reply, .. } => {
                reply.send(Err(error.clone()))
            }
            Stage::Filling { reply: None, .. } | Stage::Live => self.queue.close(match error {
                Error::Refused { code, message, .. } => {
                    CloseReason::Refused { code: Some(*code), message: message.clone() }
                }
                other => CloseReason::Refused { code: None, message: other.to_string() },
            }),
        }
    }

    pub(crate) fn close(self, reason: &CloseReason) {
        self.queue.close(reason.clone());
        if let Stage::Filling { reply: Some(reply), .. } | Stage::Joining { reply, .. } = self.stage {
            reply.send(Err(Error::closed(reason.clone())));
        }
    }
}
