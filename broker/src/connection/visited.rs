//! What a connection shows of itself to an operator, and what an operator may have done to it.

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::{CloseCode, ErrorCode, TopicName, TopicRef};

use super::Connection;
use super::subscriptions::{Pace, Subscription};
use crate::dialect::RefusalForm;
use crate::inbox::{Count, GrantSeen, SubscriptionSeen, Summary, Visited};
use crate::operation::Denied;

/// Subscriptions of a connection of which it is looked how far behind they are, where the one that is furthest is looked for.
const BEHIND_LOOKED_AT_MAX: usize = 64;

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
            address: match state.visitor.forwarded() {
                Some(forwarded) => Some(forwarded.to_string()),
                None => self.stream.peer_addr().ok().map(|peer| peer.to_string()),
            },
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

    fn most_behind(&self) -> Option<(TopicName, u64)> {
        let state = self.state.borrow();
        let all = state.subscriptions.iter().map(|(_, subscription)| subscription);
        let behind = all.filter(|subscription| subscription.behind().is_some()).take(BEHIND_LOOKED_AT_MAX);
        let lags = behind.map(|subscription| (subscription.topic.name.clone(), self.lag(subscription)));
        lags.max_by_key(|(_, lag)| *lag)
    }

    fn grant(&self) -> GrantSeen {
        self.state.borrow().session.grant().seen()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        Self::close(self, code, reason);
    }

    fn end_subscription(&self, topic: &str) -> bool {
        let Some(name) = TopicRef::new(topic).ok().filter(|_| self.unsubscribe(topic)) else { return false };
        let denied = Denied::new(ErrorCode::Forbidden, "ended by an operator");
        let mut how = RefusalForm::Said;
        self.reply_with(|out| how = self.dialect.ended(name, &denied, out));
        self.close_if_unsaid(how, &denied);
        self.wake();
        true
    }
}

impl Connection {
    /// Counts where it is somebody's who is asked for.
    pub(crate) fn be_counted(&self, count: &mut Count) {
        count.look_at(self.state.borrow().session.user());
    }

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
