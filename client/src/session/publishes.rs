//! Publishes without an ack: kept in order, so that the next connection can say them again.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use fanfare_protocol::{ClientFrame, ClientOp, Publish, RequestId};
use tokio::time::Instant;

use super::own::Key;
use super::pack::{Added, Packer};
use crate::answer::Published;
use crate::channel::{Reply, Submission};
use crate::error::Error;
use crate::state::CloseReason;

/// Bounded by the permit that every submission holds.
pub(crate) struct Publishes {
    /// Publishes by id, which is the order in which they were handed over. Invariant: deadlines are in the
    /// same order.
    unsettled: BTreeMap<RequestId, Unsettled>,
    /// Smaller ids were sent on the present connection.
    unsent_from: RequestId,
    /// Who waits until all with smaller ids are settled.
    flushes: VecDeque<(RequestId, Reply<()>)>,
}

pub(crate) struct Unsettled {
    pub(crate) submission: Submission,
    /// What it is known by as the client's own.
    pub(crate) key: Key,
    deadline: Instant,
    /// The count of connections on which it was sent.
    sent: u32,
}

const FIRST: RequestId = RequestId::new(1).expect("1 is in range");

impl Publishes {
    pub(crate) fn new() -> Self {
        Self { unsettled: BTreeMap::new(), unsent_from: FIRST, flushes: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, id: RequestId, submission: Submission, key: Key, deadline: Instant) {
        self.unsettled.insert(id, Unsettled { submission, key, deadline, sent: 0 });
    }

    pub(crate) fn add_flush(&mut self, id: RequestId, reply: Reply<()>) {
        self.flushes.retain(|(_, reply)| !reply.is_abandoned());
        self.flushes.push_back((id, reply));
        self.flush();
    }

    /// Answers those whose time has come; to be called when something was settled.
    pub(crate) fn flush(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let first = self.unsettled.first_key_value().map(|(&id, _)| id);
        while let Some((id, _)) = self.flushes.front()
            && first.is_none_or(|first| *id < first)
            && let Some((_, reply)) = self.flushes.pop_front()
        {
            reply.send(Ok(()));
        }
    }

    /// The publish that an answer belongs to.
    pub(crate) fn take(&mut self, id: Option<RequestId>) -> Option<Unsettled> {
        self.unsettled.remove(&id?)
    }

    /// What the present connection was told and has not answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Key> {
        self.unsettled.range(..self.unsent_from).map(|(_, unsettled)| unsettled.key)
    }

    /// The next connection knows nothing of what the last one was told.
    pub(crate) fn send_again(&mut self) {
        self.unsent_from = FIRST;
    }

    /// Adds what was not sent yet, as far as it fits. Returns how many these are; and what is too large by itself, with
    /// how many bytes it has.
    #[must_use = "what is too large waits for an answer that will not come"]
    pub(crate) fn pack(&mut self, packer: &mut Packer) -> (u64, Vec<(RequestId, usize)>) {
        let (mut packed, mut too_large) = (0, Vec::new());
        for (&id, Unsettled { submission, sent, .. }) in self.unsettled.range_mut(self.unsent_from..) {
            match packer.add(&frame(id, submission)) {
                Added::Packed => {
                    *sent += 1;
                    packed += 1;
                }
                Added::TooLarge(bytes) => too_large.push((id, bytes)),
                Added::Full => {
                    self.unsent_from = id;
                    break;
                }
            }
            self.unsent_from = RequestId::new(id.get() + 1).unwrap_or(id);
        }
        (packed, too_large)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.unsettled.first_key_value().map(|(_, unsettled)| unsettled.deadline)
    }

    /// Fails those whose deadline has passed; returns how many.
    pub(crate) fn expire(&mut self, now: Instant, error: impl Fn() -> Error) -> Failed {
        let mut failed = Failed::default();
        while let Some(first) = self.unsettled.first_entry()
            && first.get().deadline <= now
        {
            let unsettled = first.remove();
            failed.add(&unsettled);
            let error = error().of_fate(unsettled.was_sent());
            unsettled.settle(Err(error));
        }
        failed
    }

    /// Fails all; returns how many.
    pub(crate) fn close(&mut self, reason: &CloseReason) -> Failed {
        let mut failed = Failed::default();
        for unsettled in std::mem::take(&mut self.unsettled).into_values() {
            failed.add(&unsettled);
            let error = Error::closed(reason.clone()).of_fate(unsettled.was_sent());
            unsettled.settle(Err(error));
        }
        for (_, reply) in std::mem::take(&mut self.flushes) {
            reply.send(Err(Error::closed(reason.clone())));
        }
        failed
    }
}

/// How many publishes have failed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failed {
    pub(crate) all: u64,
    /// Failed publishes that the broker may have.
    pub(crate) unknown: u64,
}

impl Failed {
    fn add(&mut self, unsettled: &Unsettled) {
        self.all += 1;
        self.unknown += u64::from(unsettled.was_sent());
    }
}

impl Unsettled {
    /// Whether an earlier connection may have taken it already.
    pub(crate) fn is_retry(&self) -> bool {
        self.sent > 1
    }

    /// Whether the broker may have it.
    fn was_sent(&self) -> bool {
        self.sent > 0
    }

    /// Gives the answer to whoever waits for it.
    pub(crate) fn settle(self, answer: Result<Published, Error>) {
        let Submission { reply, permit, .. } = self.submission;
        // First the permit: whoever gets the answer finds it free.
        drop(permit);
        reply.send(answer);
    }
}

fn frame(id: RequestId, submission: &Submission) -> ClientFrame<'_> {
    let Submission { topic, payload, message_id, headers, .. } = submission;
    let publish = Publish {
        topic: topic.into(),
        payload: payload.borrowed(),
        message_id: Some(Cow::Borrowed(message_id)),
        headers: headers.clone(),
    };
    ClientFrame { id: Some(id), op: ClientOp::Publish(publish) }
}
