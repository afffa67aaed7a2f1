//! Beginning and ending subscriptions.

use std::rc::Rc;

use fanfare_protocol::{ErrorCode, OnLag, Recovery, TopicName, TopicRef};

use super::Connection;
use super::session::{Denied, denied};
use super::subscription::{Place, Subscription};
use crate::topic::ring::Seq;
use crate::topic::{self, Head, Resume, Start, Topic};

/// What became of a wish to subscribe.
#[derive(Debug)]
pub(super) struct Began {
    pub(super) head: Head,
    pub(super) recovery: Option<Recovery>,
    pub(super) replayed: u64,
}

impl Connection {
    /// The key of the subscription to a topic of that name.
    fn subscription_key(&self, topic: &str) -> Option<usize> {
        self.state.borrow().subscriptions.find(topic)
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
            let head = state.subscriptions[key].topic.head();
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
        let (topic, began) = worker
            .hub
            .subscribe(name, worker.index, user.as_ref(), start)
            .map_err(|no_room| denied(no_room.code(), no_room.to_string()))?;
        worker.add_subscription(&topic);
        let topic::Began { head, from, resume } = began;
        let recovery = resume.map(|resume| self.note_recovery(&topic, resume));
        let replayed = self.count_replayed(&topic, from.next, head, echo);
        let is_behind = from.next <= head.seq;
        if is_behind {
            worker.count_behind(self, &topic, true);
        }
        let mut state = self.state.borrow_mut();
        let (place, live_from) = (Place::Behind(from), head.seq.next());
        let key = state.subscriptions.insert(Subscription { topic, echo, on_lag, place, live_from });
        if is_behind {
            state.behind += 1;
        } else {
            drop(state);
            worker.join(self, key, from);
        }
        Ok(Began { head, recovery, replayed })
    }

    /// Counts what became of the position asked for.
    fn note_recovery(&self, topic: &Topic, resume: Resume) -> Recovery {
        let (result, recovery) = match resume {
            Resume::Whole => ("recovered", Recovery::Recovered),
            Resume::Missed(None) => ("epoch_changed", Recovery::Missed { count: None }),
            Resume::Missed(count) => ("gap", Recovery::Missed { count }),
        };
        self.worker.hub.metrics.recovery(&topic.namespace.name, result);
        recovery
    }

    /// How many publications will be replayed: from `next` up to the head, less its own ones if it does
    /// not want those.
    fn count_replayed(&self, topic: &Topic, next: Seq, head: Head, echo: bool) -> u64 {
        let all = head.seq.next().since(next);
        if echo || all == 0 || !self.has_published.get() {
            return all;
        }
        // What the ring has just lost is told by a gap when it comes to delivering.
        topic.count(next, head, |p| p.content.origin != Some(self.id)).unwrap_or(all)
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
        drop(state);
        self.worker.count_behind(self, &subscription.topic, false);
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
