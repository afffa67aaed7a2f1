//! What the client subscribes to: one subscription a topic on the wire, shared by any number of subscribers.

use std::collections::HashMap;

use fanfare_protocol::{ClientFrame, Gap as GapFrame, Message, Position, RequestId, Subscribed, TopicName};

use super::own::OwnPublications;
use super::requests::Request;
use super::topic::{Phase, Topic};
use crate::channel::{NewSubscriber, Start, SubscriberId};
use crate::error::Error;
use crate::state::CloseReason;

/// Bounded by the subscriptions that callers hold.
#[derive(Default)]
pub(crate) struct Topics(HashMap<TopicName, Topic>);

/// What the wire must be told for a new subscriber.
#[derive(Default)]
pub(crate) struct Needs {
    /// Whether to subscribe to the topic.
    pub(crate) asking: bool,
    /// Whether the subscription has changed.
    pub(crate) changing: bool,
    /// The request for the past that the subscriber asked for.
    pub(crate) filling: Option<Request>,
}

impl Topics {
    pub(crate) fn subscribe(&mut self, new: NewSubscriber) -> Needs {
        if new.queue.is_over() {
            return Needs::default();
        }
        let Some(topic) = self.0.get_mut(&new.topic) else {
            self.0.insert(new.topic.clone(), Topic::new(new));
            return Needs { asking: true, ..Needs::default() };
        };
        let filling = (new.start != Start::Now).then(|| fill(new.topic.clone(), new.id, new.start));
        Needs { asking: false, changing: topic.join(new), filling }
    }

    /// A subscriber is gone; returns whether the wire must be told that nobody is left.
    pub(crate) fn depart(&mut self, name: &TopicName, id: SubscriberId) -> bool {
        let Some(topic) = self.0.get_mut(name) else { return false };
        topic.remove(id);
        topic.is_deserted() && self.0.remove(name).is_some_and(|topic| topic.phase != Phase::Unsent)
    }

    /// The topics that the present connection does not subscribe to.
    pub(crate) fn unsent(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.0.values_mut().filter(|topic| topic.phase == Phase::Unsent)
    }

    /// The present connection is asked for it.
    pub(crate) fn ask(&mut self, name: &TopicName, id: RequestId) {
        if let Some(topic) = self.0.get_mut(name) {
            topic.ask(id);
        }
    }

    pub(crate) fn disconnected(&mut self) {
        for topic in self.0.values_mut() {
            topic.phase = Phase::Unsent;
        }
    }

    /// How a topic is subscribed to, unless it was forgotten meanwhile.
    pub(crate) fn frame<'a>(&'a self, name: &'a TopicName, id: RequestId) -> Option<ClientFrame<'a>> {
        Some(self.0.get(name)?.frame(id))
    }

    pub(crate) fn subscribed(&mut self, frame: &Subscribed<'_>) {
        if let Some(topic) = self.0.get_mut(frame.topic.as_str()) {
            topic.subscribed(frame);
        }
    }

    /// Gives a publication to its subscribers. Returns the topic's name when the last of them was found gone.
    pub(crate) fn deliver(&mut self, message: Message<'_>, own: &OwnPublications) -> Option<TopicName> {
        let topic = self.0.get_mut(message.topic.as_str())?;
        if topic.deliver(message, own) && topic.is_deserted() {
            let name = topic.name().clone();
            self.0.remove(&name);
            return Some(name);
        }
        None
    }

    /// A publication of this client's stands there.
    pub(crate) fn own_acknowledged(&mut self, name: &str, at: Position) {
        if let Some(topic) = self.0.get_mut(name) {
            topic.own_acknowledged(at);
        }
    }

    /// Tells its subscribers what they missed. Returns the topic's name when the last of them was ended by that.
    pub(crate) fn gap(&mut self, frame: &GapFrame<'_>) -> Option<TopicName> {
        let topic = self.0.get_mut(frame.topic.as_str())?;
        if topic.gap(frame) && topic.is_deserted() {
            let name = topic.name().clone();
            self.0.remove(&name);
            return Some(name);
        }
        None
    }

    /// The past that a subscriber asked for is here. Returns the request for the rest of it, if there is any.
    pub(crate) fn fill(
        &mut self,
        name: &TopicName,
        id: SubscriberId,
        head: Position,
        messages: Vec<Message<'_>>,
        own: &OwnPublications,
    ) -> Option<Request> {
        let rest = self.0.get_mut(name)?.fill(id, head, messages, own)?;
        Some(fill(name.clone(), id, Start::Since(rest)))
    }

    /// The past that a subscriber asked for was refused. Returns the topic's name when it was the last
    /// subscriber.
    pub(crate) fn fill_refused(
        &mut self,
        name: &TopicName,
        id: SubscriberId,
        error: Error,
    ) -> Option<TopicName> {
        self.0.get_mut(name)?.fail(id, error);
        self.depart(name, id).then(|| name.clone())
    }

    /// The broker ended a subscription.
    pub(crate) fn ended(&mut self, name: &str, reason: &CloseReason) {
        if self.0.get(name).is_some_and(|topic| topic.phase == Phase::Live)
            && let Some(topic) = self.0.remove(name)
        {
            topic.close(reason);
        }
    }

    /// The broker refused a subscription. Returns whether it is worth asking again after a while.
    pub(crate) fn refused(&mut self, name: &str, id: RequestId, error: &Error) -> bool {
        let Some(topic) = self.0.get_mut(name) else { return false };
        if topic.phase != Phase::Asked(id) {
            return false;
        }
        // Where it was live before, its subscribers were promised a subscription that goes on.
        if topic.was_live() && error.is_retryable() {
            topic.phase = Phase::Unsent;
            return true;
        }
        if let Some(topic) = self.0.remove(name) {
            topic.refuse(error);
        }
        false
    }

    pub(crate) fn close(&mut self, reason: &CloseReason) {
        for topic in std::mem::take(&mut self.0).into_values() {
            topic.close(reason);
        }
    }
}

fn fill(topic: TopicName, subscriber: SubscriberId, start: Start) -> Request {
    let (since, limit) = match start {
        Start::History(count) => (None, Some(count)),
        Start::Now => (None, None),
        Start::Since(position) => (Some(position), None),
    };
    Request::Fill { topic, subscriber, since, limit }
}
