//! What a connection shows of itself to an operator, and what an operator may have done to it.

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::{CloseCode, TopicName};

use super::Connection;
use super::subscriptions::{Pace, Subscription};
use crate::inbox::{GrantSeen, SubscriptionSeen, Summary, Visited};

impl Visited for Connection {
    fn user(&self) -> Option<Arc<str>> {
        self.state.borrow().session.user().cloned()
    }

    fn subscribes_to(&self, topic: &str) -> bool {
        self.state.borrow().subscriptions.find(topic).is_some()
    }

    fn summary(&self) -> Summary {
        let state = self.state.borrow();
        Summary {
            id: self.id,
            user: state.session.user().cloned(),
            address: self.stream.peer_addr().ok(),
            protocol: self.encoding.name(),
            worker: self.worker.index,
            is_open: state.life.is_open(),
            subscriptions: state.subscriptions.len(),
            behind: state.subscriptions.behind(),
            queued_bytes: state.outbox.len(),
            held_bytes: self.held_bytes(),
            blocked_for: self
                .backpressure
                .blocked_for(self.worker.now_ms())
                .map(|ms| Duration::from_millis(ms.into())),
        }
    }

    fn subscriptions(&self, after: Option<&str>, most: usize) -> Vec<SubscriptionSeen> {
        let state = self.state.borrow();
        let is_wanted = |name: &TopicName| after.is_none_or(|after| name.as_str() > after);
        let all = state.subscriptions.iter().map(|(_, subscription)| subscription);
        let mut wanted: Vec<_> = all.filter(|subscription| is_wanted(&subscription.topic.name)).collect();
        if most < wanted.len() {
            wanted.select_nth_unstable_by(most, |one, other| one.topic.name.cmp(&other.topic.name));
            wanted.truncate(most);
        }
        wanted.sort_unstable_by(|one, other| one.topic.name.cmp(&other.topic.name));
        wanted.into_iter().map(|subscription| self.seen(subscription)).collect()
    }

    fn grant(&self) -> GrantSeen {
        self.state.borrow().session.grant().seen()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        Self::close(self, code, reason);
    }
}

impl Connection {
    fn seen(&self, subscription: &Subscription) -> SubscriptionSeen {
        SubscriptionSeen {
            topic: subscription.topic.name.clone(),
            lag: self.lag(subscription),
            is_behind: subscription.behind().is_some(),
            echo: subscription.echo,
            on_lag: subscription.on_lag,
        }
    }

    /// Publications that a subscription has yet to get.
    fn lag(&self, subscription: &Subscription) -> u64 {
        let topic = &subscription.topic;
        let from = match subscription.pace {
            Pace::Behind(from) => Some(from),
            Pace::InStep { slot } => self.worker.cursor(self, topic, slot),
        };
        from.map_or(0, |from| topic.head().seq.next().since(from.next))
    }
}
