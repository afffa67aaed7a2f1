//! Beginning and ending subscriptions.

use std::rc::Rc;

use fanfare_protocol::{ErrorCode, Offset, OnLag, Position, Recovery, TopicName, TopicRef};

use super::Connection;
use super::session::{Denied, denied};
use super::subscription::{Place, Subscription};
use crate::topic::{Resume, Topic};

/// Where a subscription is to begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// With the newest so many publications.
    History(u64),
    /// After this position.
    Since(Position),
}

/// What became of a wish to subscribe.
#[derive(Debug)]
pub(super) struct Began {
    pub(super) head: Position,
    pub(super) recovery: Option<Recovery>,
    pub(super) replayed: u64,
}

impl Connection {
    /// The key of the subscription to a topic of that name.
    fn subscription_key(&self, topic: &str) -> Option<usize> {
        let state = self.state.borrow();
        state.subscriptions.iter().find(|(_, s)| s.topic.name.as_str() == topic).map(|(key, _)| key)
    }

    /// Subscribes, or changes the subscription that there is.
    pub(super) fn subscribe(
        self: &Rc<Self>,
        name: &TopicRef<'_>,
        start: Start,
        echo: bool,
        on_lag: OnLag,
    ) -> Result<Began, Denied> {
        let worker = &self.worker;
        if let Some(key) = self.subscription_key(name.as_str()) {
            worker.set_echo(self, key, echo);
            let mut state = self.state.borrow_mut();
            state.subscriptions[key].on_lag = on_lag;
            let head = state.subscriptions[key].topic.position();
            return Ok(Began { head, recovery: None, replayed: 0 });
        }
        if worker.hub.is_draining() {
            return Err(denied(ErrorCode::Unavailable, "the server is stopping"));
        }
        let limit = worker.hub.config.limits.subscriptions_per_connection;
        if self.state.borrow().subscriptions.len() >= limit {
            let message = format!("a connection may have at most {limit} subscriptions");
            return Err(denied(ErrorCode::LimitExceeded, message));
        }
        let user = self.state.borrow().session.user().cloned();
        let (topic, head) = worker
            .hub
            .subscribe(name, worker.index, user.as_ref())
            .map_err(|no_room| denied(no_room.code(), no_room.to_string()))?;
        worker.add_subscription(&topic);
        let (next, recovery) = self.begin_at(&topic, head, start);
        let replayed = self.count_replayed(&topic, next, head, echo);
        let place = Place::Behind { next };
        let mut state = self.state.borrow_mut();
        if state.subscriptions.capacity() == 0 {
            // Most connections have one subscription; a slab would begin with room for four.
            state.subscriptions = slab::Slab::with_capacity(1);
        }
        let key = state.subscriptions.insert(Subscription { topic, echo, on_lag, place });
        if next > head.offset {
            drop(state);
            worker.join(self, key, next);
        } else {
            state.behind += 1;
        }
        Ok(Began { head, recovery, replayed })
    }

    /// The first offset to deliver, and what became of the position asked for.
    fn begin_at(&self, topic: &Topic, head: Position, start: Start) -> (Offset, Option<Recovery>) {
        let since = match start {
            Start::History(count) => return (topic.newest(count, head), None),
            Start::Since(since) => since,
        };
        let metrics = &self.worker.hub.metrics;
        match topic.resume(since, head) {
            Resume::From(next) => {
                metrics.recovery(&topic.namespace.name, "recovered");
                (next, Some(Recovery::Recovered))
            }
            Resume::Missed(count) => {
                let result = if count.is_some() { "gap" } else { "epoch_changed" };
                metrics.recovery(&topic.namespace.name, result);
                (head.offset.next(), Some(Recovery::Missed { count }))
            }
        }
    }

    /// How many publications will be replayed: from `next` up to the head, less its own ones if it does
    /// not want those.
    fn count_replayed(&self, topic: &Topic, next: Offset, head: Position, echo: bool) -> u64 {
        let all = (head.offset.get() + 1).saturating_sub(next.get());
        if echo || all == 0 || !self.has_published.get() {
            return all;
        }
        let mut publications = Vec::new();
        let count = usize::try_from(all).unwrap_or(usize::MAX);
        // What the ring has just lost is told by a gap when it comes to delivering.
        if topic.read(next, count, usize::MAX, &mut publications).is_err() {
            return all;
        }
        publications.iter().filter(|p| p.content.origin != Some(self.id)).count() as u64
    }

    /// Ends a subscription; says whether there was one.
    pub(super) fn unsubscribe(&self, topic: &str) -> bool {
        let key = self.subscription_key(topic);
        if let Some(key) = key {
            self.end_subscription(key);
        }
        key.is_some()
    }

    /// Ends all subscriptions.
    pub(super) fn end_subscriptions(&self) {
        let keys: Vec<usize> = self.state.borrow().subscriptions.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end_subscription(key);
        }
    }

    fn end_subscription(&self, key: usize) {
        self.worker.leave(self, key);
        let mut state = self.state.borrow_mut();
        let subscription = state.subscriptions.remove(key);
        // Out of its group it counts as behind.
        state.behind -= 1;
        if state.subscriptions.is_empty() {
            state.subscriptions = slab::Slab::new();
        }
        drop(state);
        self.worker.remove_subscription(&subscription.topic);
    }

    /// Subscribes a raw connection to its topic.
    pub(super) fn subscribe_raw(
        self: &Rc<Self>,
        topic: &TopicName,
        history: u64,
        echo: bool,
        on_lag: OnLag,
    ) -> Result<Began, Denied> {
        self.subscribe(&TopicRef::from(topic), Start::History(history), echo, on_lag)
    }
}
