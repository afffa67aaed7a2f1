//! Replies that are not known yet, and those that wait behind them. Pure.
//!
//! Replies keep the order of what they answer. Where one is to come later, those behind it wait here.

use std::collections::{HashMap, VecDeque};

use fanfare_protocol::{Position, RequestId, TopicName};

use crate::answer::{Refusal, Ticket};
use crate::hub::UnansweredPublish;
use crate::inbox::Due;

/// Publications of one connection that may wait for their answers.
pub(super) const WAITING_MAX: usize = 1024;
/// Bytes of replies that wait behind one that is not known above which nothing more is taken in.
const BYTES_MAX: usize = 64 * 1024;

/// What waits on one connection. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Replies(Option<Box<Line>>);

/// The line of replies in which they are said, and what else is waited for.
#[derive(Debug, Default)]
struct Line {
    slots: VecDeque<Slot>,
    /// Invariant: how many slots wait for their answers.
    waiting: usize,
    /// Invariant: the bytes of the slots' frames.
    bytes: usize,
    /// What became of the answer for which waits what is to be done next.
    awaited: Option<Awaited>,
    /// Invariant: the topics of the slots that are, or may become, a `published`.
    topics: HashMap<TopicName, Outstanding>,
}

/// The replies to a connection's publications to one topic.
#[derive(Debug, Default)]
struct Outstanding {
    /// Replies that are yet to be said.
    count: usize,
    /// The position of the newest publication whose reply was said since some are outstanding.
    said: Option<Position>,
}

/// The place of one reply.
#[derive(Debug)]
enum Slot {
    /// The reply is not known yet, and comes under this ticket.
    Waiting(Ticket, WaitingPublish),
    /// The reply is this frame, which may be empty; where it is a `published`, of a publication that stands
    /// there.
    Known(Vec<u8>, Option<(TopicName, Position)>),
}

/// What became of the answer for which waits what is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The answer is not there yet, and comes under this ticket; when it is due nobody asks again.
    Answer { ticket: Ticket, due: Due },
    /// The answer was to ask again, in the same time.
    Again { due: Due },
    /// The answer was that this is refused.
    Refused(Refusal),
}

/// A publication that is answered later.
#[derive(Debug)]
pub(super) struct WaitingPublish {
    /// The request's id; without one there is a reply only if it fails.
    pub(super) id: Option<RequestId>,
    pub(super) topic: TopicName,
    pub(super) asked: UnansweredPublish,
}

impl Line {
    /// Counts one more `published` that is outstanding.
    fn enter(&mut self, topic: &TopicName) {
        self.topics.entry(topic.clone()).or_default().count += 1;
    }

    /// Counts one `published` less: it was `said` of a publication that stands there, or will not be.
    fn leave(&mut self, topic: &TopicName, said: Option<Position>) {
        let Some(outstanding) = self.topics.get_mut(topic) else { return };
        outstanding.count -= 1;
        if outstanding.count == 0 {
            self.topics.remove(topic);
        } else if let Some(said) = said {
            // A duplicate stands further back.
            let is_newer = |before: Position| before.epoch != said.epoch || before.offset < said.offset;
            if outstanding.said.is_none_or(is_newer) {
                outstanding.said = Some(said);
            }
        }
    }
}

impl Replies {
    /// Whether a reply may be said at once.
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|line| line.slots.is_empty())
    }

    /// What is to be done next waits for an answer, or is refused by it.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        self.0.as_ref().and_then(|line| line.awaited)
    }

    pub(super) fn set_awaited(&mut self, awaited: Option<Awaited>) {
        if awaited.is_some() || self.0.is_some() {
            self.line().awaited = awaited;
            self.give_back();
        }
    }

    /// Gives the memory back where nothing waits.
    fn give_back(&mut self) {
        if self.0.as_ref().is_some_and(|line| line.slots.is_empty() && line.awaited.is_none()) {
            self.0 = None;
        }
    }

    /// Whether a publication of its own may not be delivered yet, for `published` comes first.
    pub(super) fn holds_back(&self) -> bool {
        self.0.as_ref().is_some_and(|line| !line.topics.is_empty())
    }

    /// Whether another publication may wait for its answer.
    pub(super) fn has_capacity(&self) -> bool {
        self.0.as_ref().is_none_or(|line| line.waiting < WAITING_MAX)
    }

    /// Whether so much waits that nothing more is to be taken in.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|line| line.bytes > BYTES_MAX || line.slots.len() > 2 * WAITING_MAX)
    }

    /// Bytes that it holds, which are charged.
    pub(super) fn held_bytes(&self) -> usize {
        let slots = |line: &Line| {
            let topics = line.topics.capacity() * size_of::<(TopicName, Outstanding)>();
            line.slots.capacity() * size_of::<Slot>() + topics + line.bytes
        };
        self.0.as_deref().map_or(0, slots)
    }

    fn line(&mut self) -> &mut Line {
        self.0.get_or_insert_default()
    }

    /// The next reply comes under that ticket.
    pub(super) fn expect(&mut self, ticket: Ticket, publishing: WaitingPublish) {
        let line = self.line();
        line.waiting += 1;
        if publishing.id.is_some() {
            line.enter(&publishing.topic);
        }
        line.slots.push_back(Slot::Waiting(ticket, publishing));
    }

    /// The next reply, behind those that are not known yet; where it is a `published`, its publication `stands` there.
    pub(super) fn push(&mut self, frame: Vec<u8>, stands: Option<(TopicName, Position)>) {
        let line = self.line();
        line.bytes += frame.len();
        if let Some((topic, _)) = &stands {
            line.enter(topic);
        }
        line.slots.push_back(Slot::Known(frame, stands));
    }

    /// An answer has come: `reply` makes a frame of it, which may be empty, and says where the publication stands.
    /// Returns whether it was waited for.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        reply: impl FnOnce(&WaitingPublish) -> (Vec<u8>, Option<Position>),
    ) -> bool {
        let Some(line) = &mut self.0 else { return false };
        let waits = |slot: &&mut Slot| matches!(slot, Slot::Waiting(waits, _) if *waits == ticket);
        let Some(slot) = line.slots.iter_mut().find(waits) else { return false };
        let Slot::Waiting(_, publishing) = slot else { return false };
        let (frame, position) = reply(publishing);
        line.waiting -= 1;
        line.bytes += frame.len();
        // Without an id nothing is said of it when all is well.
        let topic = publishing.id.map(|_| publishing.topic.clone());
        let stands = topic.clone().zip(position);
        let is_refused = stands.is_none();
        *slot = Slot::Known(frame, stands);
        if let Some(topic) = topic.filter(|_| is_refused) {
            line.leave(&topic, None);
        }
        true
    }

    /// The next reply, if it is known.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let line = self.0.as_mut()?;
        let Some(Slot::Known(..)) = line.slots.front() else { return None };
        let Some(Slot::Known(frame, stands)) = line.slots.pop_front() else { return None };
        line.bytes -= frame.len();
        if let Some((topic, position)) = stands {
            line.leave(&topic, Some(position));
        }
        self.give_back();
        Some(frame)
    }

    /// Where the newest publication to that topic stands whose reply was said, if any was since some waited; `None` where
    /// no reply to one is outstanding.
    pub(super) fn said(&self, topic: &str) -> Option<Option<Position>> {
        self.0.as_ref()?.topics.get(topic).map(|outstanding| outstanding.said)
    }

    /// The replies that are known, in their order; those that are not wait no longer.
    pub(super) fn take_known(&mut self) -> Vec<Vec<u8>> {
        let Some(line) = &mut self.0 else { return Vec::new() };
        let known = line.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Known(frame, _) => Some(std::mem::take(frame)),
            Slot::Waiting(..) => None,
        });
        known.collect()
    }

    /// Forgets everything; returns the tickets for which nobody waits any more, and which publications they are of.
    pub(super) fn forget(&mut self) -> Vec<(Ticket, Option<UnansweredPublish>)> {
        let Some(line) = self.0.take() else { return Vec::new() };
        let slot = |slot: Slot| match slot {
            Slot::Waiting(ticket, publishing) => Some((ticket, Some(publishing.asked))),
            Slot::Known(..) => None,
        };
        let awaited = match line.awaited {
            Some(Awaited::Answer { ticket, .. }) => Some((ticket, None)),
            Some(Awaited::Again { .. } | Awaited::Refused(_)) | None => None,
        };
        line.slots.into_iter().filter_map(slot).chain(awaited).collect()
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{Epoch, Offset};
    use tokio::time::Instant;

    use super::*;
    use crate::source::Source;

    /// A publication that waits, with an id.
    fn publishing() -> WaitingPublish {
        let asked = UnansweredPublish { namespace: 0, source: Source::WebSocket, received: Instant::now() };
        WaitingPublish { id: RequestId::new(1), topic: "t".parse().expect("a topic name"), asked }
    }

    fn tickets(forgotten: Vec<(Ticket, Option<UnansweredPublish>)>) -> Vec<Ticket> {
        forgotten.into_iter().map(|(ticket, _)| ticket).collect()
    }

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::from_number(1), offset: Offset::new(offset) }
    }

    #[test]
    fn replies_keep_the_order_of_what_they_answer_whenever_they_come() {
        let mut replies = Replies::default();
        assert!(replies.is_empty());
        for n in 1..=3 {
            replies.expect(Ticket(n), publishing());
        }
        replies.push(b"pong".to_vec(), None);
        assert!(replies.settle(Ticket(2), |_| (b"second".to_vec(), Some(at(2)))));
        assert_eq!(replies.pop(), None);
        assert_eq!((replies.said("t"), replies.said("u")), (Some(None), None));
        assert!(replies.settle(Ticket(1), |_| (b"first".to_vec(), Some(at(1)))));
        assert!(!replies.settle(Ticket(1), |_| unreachable!("it is known")));
        assert_eq!(replies.pop().as_deref(), Some(&b"first"[..]));
        assert_eq!(replies.pop().as_deref(), Some(&b"second"[..]));
        assert_eq!((replies.pop(), replies.said("t")), (None, Some(Some(at(2)))));
        assert!(replies.settle(Ticket(3), |_| (Vec::new(), None)));
        assert_eq!(replies.pop().as_deref(), Some(&b""[..]), "nobody wanted to know");
        assert_eq!(replies.pop().as_deref(), Some(&b"pong"[..]));
        assert!(replies.is_empty() && replies.held_bytes() == 0);
    }

    #[test]
    fn what_waits_is_bounded_and_forgotten_as_a_whole() {
        let mut replies = Replies::default();
        let mut expected = Vec::new();
        while replies.has_capacity() {
            expected.push(Ticket(expected.len() as u64));
            replies.expect(expected[expected.len() - 1], publishing());
        }
        assert_eq!(expected.len(), WAITING_MAX);
        while !replies.is_full() {
            replies.push(vec![0; 1000], None);
        }
        assert!((BYTES_MAX..BYTES_MAX + 2000).contains(&replies.0.as_ref().expect("it is there").bytes));
        let forgotten = replies.forget();
        assert_eq!(forgotten.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), expected);
        assert!(replies.is_empty() && !replies.is_full() && replies.has_capacity());
    }

    #[test]
    fn a_duplicate_takes_back_nothing_of_what_was_said() {
        let mut replies = Replies::default();
        for n in 1..=3 {
            replies.expect(Ticket(n), publishing());
        }
        // The second is the retry of one that was published long ago.
        assert!(replies.settle(Ticket(1), |_| (Vec::new(), Some(at(10)))));
        assert!(replies.settle(Ticket(2), |_| (Vec::new(), Some(at(3)))));
        assert!(replies.pop().is_some() && replies.pop().is_some());
        assert_eq!(replies.said("t"), Some(Some(at(10))));
    }

    #[test]
    fn a_publication_of_its_own_is_held_back_until_its_published_is_said_or_will_not_be() {
        let mut replies = Replies::default();
        replies.expect(Ticket(1), WaitingPublish { id: None, ..publishing() });
        assert!(!replies.holds_back(), "nobody wants to hear of it");
        replies.expect(Ticket(2), publishing());
        replies.push(b"published".to_vec(), Some(("u".parse().expect("a topic name"), at(1))));
        assert!(replies.holds_back());
        assert!(replies.settle(Ticket(2), |_| (b"error".to_vec(), None)));
        assert_eq!((replies.said("t"), replies.said("u")), (None, Some(None)), "it was refused");
        assert!(replies.settle(Ticket(1), |_| (Vec::new(), Some(at(2)))));
        while replies.pop().is_some() {}
        assert!(!replies.holds_back() && replies.is_empty());
    }

    #[test]
    fn what_is_known_can_be_said_before_a_close_and_nothing_is_waited_for_after_it() {
        let mut replies = Replies::default();
        replies.expect(Ticket(1), publishing());
        replies.push(b"pong".to_vec(), None);
        replies.expect(Ticket(2), publishing());
        replies.set_awaited(Some(Awaited::Answer { ticket: Ticket(3), due: Due::default() }));
        assert!(replies.settle(Ticket(2), |_| (b"second".to_vec(), Some(at(2)))));
        assert_eq!(replies.take_known(), [b"pong".to_vec(), b"second".to_vec()]);
        assert_eq!(tickets(replies.forget()), [Ticket(1), Ticket(3)]);
        assert!(!replies.settle(Ticket(1), |_| unreachable!("nobody waits for it")));
        assert_eq!((replies.held_bytes(), replies.awaited()), (0, None));
    }

    #[test]
    fn what_is_to_be_done_next_waits_for_one_answer_and_takes_no_memory_without() {
        let mut replies = Replies::default();
        replies.set_awaited(None);
        assert_eq!(replies.held_bytes(), 0);
        replies.set_awaited(Some(Awaited::Answer { ticket: Ticket(1), due: Due::default() }));
        assert_eq!(replies.awaited(), Some(Awaited::Answer { ticket: Ticket(1), due: Due::default() }));
        assert!(replies.is_empty(), "replies may be said all the same");
        replies.set_awaited(Some(Awaited::Refused(Refusal::Busy)));
        assert_eq!(tickets(replies.forget()), [], "that answer has come");
        assert!(replies.0.is_none());
    }
}
