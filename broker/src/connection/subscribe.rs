//! Beginning and ending subscriptions, on the connection and on its worker.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::{OnLag, Recovery, TopicRef};
use smallvec::SmallVec;

use super::Connection;
use super::moving::SUBSCRIPTIONS_MAX;
use super::subscriptions::Subscription;
use crate::answer::Answer;
use crate::operation::{Denied, subscribe};
use crate::topic::ring::{Cursor, Seq};
use crate::topic::{self, Head, Resume, Start, Topic};

/// How a subscription began.
#[derive(Debug)]
pub(super) struct SubscribeOutcome {
    /// The topic's head at that moment.
    pub(super) head: Head,
    /// What became of the position to continue from, where one was asked for.
    pub(super) recovery: Option<Recovery>,
    /// Publications of the past that follow.
    pub(super) replayed: u64,
}

impl Connection {
    /// The key of the subscription to a topic of that name.
    fn subscription_key(&self, topic: &str) -> Option<usize> {
        self.state.borrow().subscriptions.find(topic)
    }

    /// Subscribes, or changes the subscription that there is.
    ///
    /// # Errors
    /// [`Denied`]: the grant does not allow it, or there may be no more subscriptions or topics.
    pub(super) fn subscribe(
        self: &Rc<Self>,
        name: &TopicRef<'_>,
        start: Start,
        echo: bool,
        on_lag: OnLag,
    ) -> Answer<Result<SubscribeOutcome, Denied>> {
        let worker = &self.worker;
        let leave = subscribe::leave(self.state.borrow().session.grant(), name, start);
        let leave = match leave {
            Ok(leave) => leave,
            Err(denied) => return Answer::Now(Err(denied)),
        };
        if let Some(key) = self.subscription_key(name.as_str()) {
            let head = self.change_subscription(key, echo, on_lag);
            return Answer::Now(Ok(SubscribeOutcome { head, recovery: None, replayed: 0 }));
        }
        let count = self.state.borrow().subscriptions.len();
        let began = leave.subscribe(&worker.hub, worker.index, count, &|| self.promise(0));
        began.map(|began| began.map(|(topic, began)| self.add_subscription(topic, began, echo, on_lag)))
    }

    fn change_subscription(&self, key: usize, echo: bool, on_lag: OnLag) -> Head {
        let mut state = self.state.borrow_mut();
        state.subscriptions.set_echo(key, echo);
        state.subscriptions.set_on_lag(key, on_lag);
        let topic = Arc::clone(&state.subscriptions[key].topic);
        drop(state);
        self.worker.set_echo(self, key, echo);
        topic.head()
    }

    fn add_subscription(
        self: &Rc<Self>,
        topic: Arc<Topic>,
        began: topic::SubscriptionStart,
        echo: bool,
        on_lag: OnLag,
    ) -> SubscribeOutcome {
        let worker = &self.worker;
        worker.add_subscription(&topic);
        let topic::SubscriptionStart { head, from, resume, home } = began;
        let recovery = resume.map(|resume| self.note_recovery(&topic, resume));
        let replayed = self.count_replayed(&topic, from.next, head, echo);
        let is_behind = from.next <= head.seq;
        if is_behind {
            worker.count_behind(self, &topic, true);
        }
        let live_from = head.seq.next();
        let key = self.state.borrow_mut().subscriptions.insert(topic, echo, on_lag, from, live_from);
        if !is_behind {
            worker.join(self, key, from);
        }
        self.settle_down(key, home);
        SubscribeOutcome { head, recovery, replayed }
    }

    /// Has it move to where the others of most of its small topics are. That is decided with its first subscription to a topic
    /// that others subscribe to as well, and again each time the number of its subscriptions has doubled: whoever goes from topic
    /// to topic does not go from worker to worker.
    ///
    /// The others of the topic of subscription `newest` are at `newest_home`.
    fn settle_down(&self, newest: usize, newest_home: Option<usize>) {
        let state = self.state.borrow();
        let count = state.subscriptions.len();
        if count < usize::from(self.settles_at.get()) || count > SUBSCRIPTIONS_MAX {
            return;
        }
        let here = self.worker.index;
        let home = |(key, subscription): (usize, &Subscription)| {
            if key == newest { newest_home } else { subscription.topic.home(here, 1) }
        };
        let mut homes: SmallVec<[usize; 8]> = state.subscriptions.iter().filter_map(home).collect();
        homes.sort_unstable();
        // Of several that have as many it is the one where it is, or else the first.
        let order = |votes: &&[usize]| (votes.len(), votes[0] == here, Reverse(votes[0]));
        let most = homes.chunk_by(|one, other| one == other).max_by_key(order);
        let Some(home) = most.map(|votes| votes[0]) else { return };
        self.settles_at.set((2 * count).try_into().unwrap_or(u8::MAX));
        drop(state);
        if home != here {
            self.worker.bring_together(self, home);
        }
    }

    /// Counts what became of the position asked for.
    fn note_recovery(&self, topic: &Topic, resume: Resume) -> Recovery {
        let (result, recovery) = match resume {
            Resume::Whole => ("recovered", Recovery::Recovered),
            Resume::Missed(None) => ("epoch_changed", Recovery::Missed { count: None }),
            Resume::Missed(count) => ("gap", Recovery::Missed { count }),
        };
        self.worker.metrics.recovery(&topic.namespace.name, result);
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

    /// A subscription is in step from now on, or in another slot.
    pub(crate) fn put_in_step(&self, key: usize, slot: usize) {
        self.state.borrow_mut().subscriptions.put_in_step(key, slot);
    }

    /// A subscription is out of step: it goes on from there at its own pace.
    pub(crate) fn put_behind(&self, key: usize, from: Cursor) {
        self.state.borrow_mut().subscriptions.put_behind(key, from);
    }

    /// Ends a subscription; says whether there was one.
    pub(super) fn unsubscribe(&self, topic: &str) -> bool {
        let key = self.subscription_key(topic);
        if let Some(key) = key {
            self.end_subscription(key);
        }
        key.is_some()
    }

    /// Ends all subscriptions: nothing more is delivered.
    pub(super) fn end_subscriptions(&self) {
        let keys = self.state.borrow().subscriptions.keys();
        for key in keys {
            self.end_subscription(key);
        }
    }

    fn end_subscription(&self, key: usize) {
        self.worker.leave(self, key);
        // Out of its group it counts as behind.
        let subscription = self.state.borrow_mut().subscriptions.remove(key);
        self.worker.count_behind(self, &subscription.topic, false);
        self.worker.remove_subscription(&subscription.topic);
    }
}
