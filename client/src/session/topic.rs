//! One topic's subscription on the wire, and those who share it.
//!
//! Two positions matter. The topic's own is after what the next connection continues: everything up to it
//! was handed to the subscribers. A subscriber's `seen` lets one that joined later, and fetched the past
//! for itself, skip what it has had already. Whatever the broker says twice is thus delivered once.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::mem;

use fanfare_protocol::{
    ClientFrame, ClientOp, Gap as GapFrame, Message, Offset, OnLag, Position, Recovery, RequestId, Subscribe,
    Subscribed, TopicName, TopicRef,
};

use super::own::OwnPublications;
use super::subscriber::{Stage, Subscriber};
use crate::channel::{NewSubscriber, Start, SubscriberId};
use crate::error::Error;
use crate::event::{Event, Gap, Publication};
use crate::state::CloseReason;

pub(crate) struct Topic {
    name: TopicName,
    pub(crate) phase: Phase,
    /// What the first subscriber asked for; until `position` is known.
    start: Start,
    /// Whether any subscriber wants the client's own publications.
    echo: bool,
    on_lag: OnLag,
    /// After what to continue; known since the first `subscribed`.
    position: Option<Position>,
    /// Offsets of the client's own publications behind `position`, of which the broker does not tell where `echo` is
    /// false. Invariant: at most [`OWN_AHEAD_MAX`].
    own_ahead: BTreeSet<u64>,
    /// While nothing of the past that was asked for has come: at most what is behind this was promised, though
    /// `position` may lie before it, where the client's own publications are left out.
    promised_after: Option<Offset>,
    subscribers: Vec<Subscriber>,
}

/// Own publications that may be acknowledged before what lies between them has come. Of more the position is
/// only told later.
const OWN_AHEAD_MAX: usize = 4096;

/// What the present connection knows of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The broker was asked, and has not answered.
    Asked(RequestId),
    Live,
    /// Nothing is known: the broker was not asked.
    Unsent,
}

impl Topic {
    /// A topic with its first subscriber.
    pub(crate) fn new(new: NewSubscriber) -> Self {
        let NewSubscriber { id, topic, start, echo, on_lag, queue, reply } = new;
        let stage = Stage::Joining { opened: true, reply };
        let first = Subscriber { id, echo, queue, seen: Offset::ZERO, stage };
        Self {
            name: topic,
            phase: Phase::Unsent,
            start,
            echo,
            on_lag,
            position: None,
            own_ahead: BTreeSet::new(),
            promised_after: None,
            subscribers: vec![first],
        }
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    /// Takes one more subscriber; returns whether that changes what the wire was asked for.
    pub(crate) fn join(&mut self, new: NewSubscriber) -> bool {
        let NewSubscriber { id, start, echo, queue, reply, .. } = new;
        let mut seen = Offset::ZERO;
        let stage = match (start, self.phase, self.position) {
            (Start::Since(_) | Start::History(_), ..) => {
                Stage::Filling { start, reply: Some(reply), whole_history: false }
            }
            (Start::Now, Phase::Live, Some(position)) => {
                seen = position.offset;
                reply.send(Ok(position));
                Stage::Live
            }
            (Start::Now, ..) => Stage::Joining { opened: false, reply },
        };
        self.subscribers.push(Subscriber { id, echo, queue, seen, stage });
        let changed = echo && !self.echo;
        self.echo |= echo;
        changed && self.phase != Phase::Unsent
    }

    pub(crate) fn remove(&mut self, id: SubscriberId) {
        self.subscribers.retain(|subscriber| subscriber.id != id);
    }

    pub(crate) fn is_deserted(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(crate) fn was_live(&self) -> bool {
        self.position.is_some()
    }

    pub(crate) fn ask(&mut self, id: RequestId) {
        self.phase = Phase::Asked(id);
    }

    /// Asks for the topic, or where that was done already under another id says what has changed.
    pub(crate) fn frame(&self, id: RequestId) -> ClientFrame<'_> {
        let mut subscribe = Subscribe::new(TopicRef::from(&self.name));
        subscribe.echo = self.echo;
        // The broker would end the whole connection, with everybody else's subscriptions: this client ends the one.
        subscribe.on_lag = if self.on_lag == OnLag::Disconnect { OnLag::Gap } else { self.on_lag };
        match (self.position, self.start) {
            _ if self.phase != Phase::Asked(id) => {}
            (Some(position), _) | (None, Start::Since(position)) => subscribe.since = Some(position),
            (None, Start::History(count)) => subscribe.history = Some(count),
            (None, Start::Now) => {}
        }
        ClientFrame { id: Some(id), op: ClientOp::Subscribe(subscribe) }
    }

    pub(crate) fn subscribed(&mut self, frame: &Subscribed<'_>) {
        if frame.id.map(Phase::Asked) != Some(self.phase) {
            return;
        }
        self.phase = Phase::Live;
        match self.position {
            None => self.opened(frame),
            Some(position) => self.resumed(position, frame),
        }
    }

    /// The first `subscribed`.
    fn opened(&mut self, frame: &Subscribed<'_>) {
        let head = frame.position;
        let begin = match (self.start, frame.recovery) {
            (Start::Since(position), Some(Recovery::Recovered)) => position,
            (Start::History(count), _) => before_newest(head, self.span_of_replay(count, frame.replayed)),
            _ => head,
        };
        self.position = Some(begin);
        let promised_after = before_newest(head, frame.replayed).offset;
        self.promised_after = matches!(self.start, Start::History(_)).then_some(promised_after);
        let news = matches!(self.start, Start::Since(_)).then(|| resubscribed(frame, None));
        for subscriber in &mut self.subscribers {
            if let Some(opened) = subscriber.go_live(head, begin)
                && opened
                && let Some(news) = &news
            {
                subscriber.queue.push(news.clone());
            }
        }
    }

    /// Over how many offsets the newest `count` publications stretch at most, `replayed` of which follow.
    fn span_of_replay(&self, count: u64, replayed: u64) -> u64 {
        let opener =
            |subscriber: &&Subscriber| matches!(subscriber.stage, Stage::Joining { opened: true, .. });
        match self.subscribers.iter().find(opener) {
            // The client's own publications are left out, and may lie between those that follow.
            Some(opener) if !opener.echo && replayed > 0 => count,
            _ => replayed,
        }
    }

    /// A later `subscribed`, on a new connection.
    fn resumed(&mut self, mut position: Position, frame: &Subscribed<'_>) {
        let head = frame.position;
        position.offset =
            self.promised_after.take().map_or(position.offset, |after| after.max(position.offset));
        let recovered = frame.recovery == Some(Recovery::Recovered);
        if !recovered {
            self.position = Some(head);
            self.own_ahead.clear();
        }
        for subscriber in &mut self.subscribers {
            match subscriber.stage {
                Stage::Filling { .. } => {}
                Stage::Joining { .. } => drop(subscriber.go_live(head, head)),
                Stage::Live => {
                    // One that had fetched more than the topic had delivered has missed less.
                    let ahead =
                        Position { epoch: position.epoch, offset: subscriber.seen.max(position.offset) };
                    subscriber.queue.push(resubscribed(frame, Some(ahead)));
                    if !recovered {
                        subscriber.seen = head.offset;
                    }
                }
            }
        }
    }

    /// Gives a publication to those who want it; returns whether somebody was found gone.
    pub(crate) fn deliver(&mut self, message: Message<'_>, own: &OwnPublications) -> bool {
        let (Phase::Live, Some(position)) = (self.phase, &mut self.position) else { return false };
        if message.offset <= position.offset {
            return false;
        }
        position.offset = message.offset;
        self.promised_after = None;
        let (offset, epoch) = (message.offset, position.epoch);
        let own = own.contains(self.name.as_str(), message.message_id.as_deref(), *position);
        self.pass_own();
        let wants = |subscriber: &Subscriber| subscriber.wants(offset, own);
        let Some(last) = self.subscribers.iter().rposition(wants) else { return false };
        let publication = Publication::new(&self.name, epoch, message);
        let (before, from_last) = self.subscribers.split_at(last);
        let mut gone = false;
        // Mostly there is one subscriber, and nothing to clone for.
        for subscriber in before.iter().filter(|subscriber| wants(subscriber)) {
            gone |= !subscriber.queue.push(Event::Publication(publication.clone()));
        }
        gone |= !from_last[0].queue.push(Event::Publication(publication));
        if gone {
            self.subscribers.retain(|subscriber| !subscriber.queue.is_over());
        }
        gone
    }

    /// A publication of the client's own stands there. Where the broker leaves these out it is as good as delivered,
    /// once all before it is: whoever joins begins behind it, and so does the next connection.
    pub(crate) fn own_acknowledged(&mut self, at: Position) {
        let (false, Phase::Live, Some(position)) = (self.echo, self.phase, self.position) else { return };
        if at.epoch == position.epoch && at.offset > position.offset && self.own_ahead.len() < OWN_AHEAD_MAX {
            self.own_ahead.insert(at.offset.get());
            self.pass_own();
        }
    }

    /// Moves the position over the client's own publications that follow it without a hole.
    fn pass_own(&mut self) {
        let Some(position) = &mut self.position else { return };
        while let Some(&first) = self.own_ahead.first() {
            match first.cmp(&position.offset.next().get()) {
                Ordering::Less => {}
                Ordering::Equal => position.offset = Offset::new(first),
                Ordering::Greater => break,
            }
            self.own_ahead.pop_first();
        }
    }

    /// Says what was missed; returns whether that ended a subscription.
    pub(crate) fn gap(&mut self, frame: &GapFrame<'_>) -> bool {
        let (Phase::Live, Some(position)) = (self.phase, &mut self.position) else { return false };
        let &GapFrame { epoch, from, to, missed, .. } = frame;
        let same_epoch = epoch == position.epoch;
        if same_epoch && to <= position.offset {
            return false;
        }
        *position = Position { epoch, offset: to };
        if !same_epoch {
            self.own_ahead.clear();
        }
        for subscriber in &mut self.subscribers {
            if !matches!(subscriber.stage, Stage::Live) || (same_epoch && to <= subscriber.seen) {
                continue;
            }
            let had = if same_epoch {
                subscriber.seen.get().saturating_sub(from.get().saturating_sub(1))
            } else {
                0
            };
            let from = Offset::new(from.get() + had);
            let missed = missed.map(|missed| missed.saturating_sub(had));
            subscriber.queue.gap(Gap { epoch, from, to, missed });
            subscriber.seen = to;
        }
        self.pass_own();
        let before = self.subscribers.len();
        self.subscribers.retain(|subscriber| !subscriber.queue.is_over());
        self.subscribers.len() < before
    }

    /// Gives a subscriber the past it asked for. Returns after what the rest of it is to be asked for.
    pub(crate) fn fill(
        &mut self,
        id: SubscriberId,
        head: Position,
        messages: Vec<Message<'_>>,
        own: &OwnPublications,
    ) -> Option<Position> {
        let subscriber = self.subscribers.iter_mut().find(|subscriber| subscriber.id == id)?;
        let stage = mem::replace(&mut subscriber.stage, Stage::Live);
        let Stage::Filling { start, reply, whole_history } = stage else { return None };
        let first = messages.first().map(|message| message.offset);
        let last = messages.last().map_or(head.offset, |message| message.offset);
        let mut begin = head;
        match start {
            Start::Since(since) => {
                let whole = since.epoch == head.epoch
                    && first.map_or(since.offset == head.offset, |first| follows(first, since.offset));
                begin = if whole { since } else { head };
                // What comes after the first part was announced with it.
                if !whole || reply.is_some() {
                    subscriber.queue.push(continued(whole, since, head));
                }
            }
            Start::History(count) => {
                // A reply is bounded: where there may be more before it, all of it is asked for, oldest first.
                let is_short = (messages.len() as u64) < count && first.is_some_and(|first| first.get() > 1);
                if is_short && !whole_history {
                    let since = before_newest(head, count);
                    subscriber.stage = Stage::Filling { start, reply, whole_history: true };
                    return Some(since);
                }
                if let Some(first) = first {
                    begin.offset = Offset::new(first.get().saturating_sub(1));
                }
            }
            Start::Now => {}
        }
        if let Some(reply) = reply {
            reply.send(Ok(begin));
        }
        if begin == head {
            subscriber.seen = head.offset;
            return None;
        }
        for message in messages {
            let at = Position { epoch: head.epoch, offset: message.offset };
            let is_own = own.contains(self.name.as_str(), message.message_id.as_deref(), at);
            if subscriber.echo || !is_own {
                let publication = Publication::new(&self.name, head.epoch, message);
                subscriber.queue.push(Event::Publication(publication));
            }
        }
        subscriber.seen = last;
        (last < head.offset).then(|| {
            let rest = Position { epoch: head.epoch, offset: last };
            subscriber.stage = Stage::Filling { start: Start::Since(rest), reply: None, whole_history: true };
            rest
        })
    }

    /// Refuses a subscriber what it asked for.
    pub(crate) fn fail(&mut self, id: SubscriberId, error: Error) {
        if let Some(index) = self.subscribers.iter().position(|subscriber| subscriber.id == id) {
            self.subscribers.remove(index).refuse(&error);
        }
    }

    /// The topic is refused.
    pub(crate) fn refuse(self, error: &Error) {
        for subscriber in self.subscribers {
            subscriber.refuse(error);
        }
    }

    pub(crate) fn close(self, reason: &CloseReason) {
        for subscriber in self.subscribers {
            subscriber.close(reason);
        }
    }
}

/// Whether nothing is missing between the two, where offsets are consecutive.
fn follows(offset: Offset, before: Offset) -> bool {
    offset.get().checked_sub(1) == Some(before.get())
}

/// After what the newest `count` publications follow, where offsets are consecutive.
fn before_newest(head: Position, count: u64) -> Position {
    Position { epoch: head.epoch, offset: Offset::new(head.offset.get().saturating_sub(count)) }
}

/// What a subscriber that has had everything up to `had` is told of a `subscribed` frame.
fn resubscribed(frame: &Subscribed<'_>, had: Option<Position>) -> Event {
    let position = frame.position;
    match frame.recovery {
        Some(Recovery::Recovered) => Event::Resubscribed { recovered: true, position, missed: Some(0) },
        Some(Recovery::Missed { count }) => {
            let most = had.filter(|had| had.epoch == position.epoch);
            let most = most.and_then(|had| position.offset.get().checked_sub(had.offset.get()));
            let missed = count.map(|count| most.map_or(count, |most| count.min(most)));
            Event::Resubscribed { recovered: false, position, missed }
        }
        None => Event::Resubscribed { recovered: false, position, missed: None },
    }
}

/// What a subscriber that joined is told of its wish to continue after `since`.
fn continued(whole: bool, since: Position, head: Position) -> Event {
    let missed = match whole {
        true => Some(0),
        false if since.epoch == head.epoch => head.offset.get().checked_sub(since.offset.get()),
        false => None,
    };
    Event::Resubscribed { recovered: whole, position: head, missed }
}
