//! Something that an operator has a worker look at or do, among its connections.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_protocol::{CloseCode, OnLag, TopicName};

use crate::ids::ConnectionId;

/// Connections that one inquiry may ask for.
pub(crate) const ASKED_MAX: usize = 256;
/// The time after which the worker goes on with its other tasks, though some of them are left.
const CYCLE_MAX: Duration = Duration::from_micros(500);

/// What a worker shows of itself to whoever inquires.
pub(crate) trait Host {
    /// Has a look at the connection of that key and that id, where it is this worker's.
    fn visit(&self, key: u32, id: ConnectionId, look: &mut dyn FnMut(&dyn Visited));

    /// Has a look at those of its connections whose sockets had taken nothing for longest when all were last looked at, the first for the
    /// longest time: so many at most.
    fn blocked(&self, most: usize, look: &mut dyn FnMut(&dyn Visited));
}

/// What a connection shows of itself, and what may be done to it.
pub(crate) trait Visited {
    /// Who its credentials say it is.
    fn user(&self) -> Option<Arc<str>>;

    /// Whether it subscribes to the topic of that name.
    fn subscribes_to(&self, topic: &str) -> bool;

    fn summary(&self) -> Summary;

    /// Its subscriptions in the order of their topics' names: up to `most` of those after that name.
    fn subscriptions(&self, after: Option<&str>, most: usize) -> Vec<SubscriptionSeen>;

    /// The topic of which it has yet to get most, and how many publications: of some of its subscriptions that are behind.
    fn most_behind(&self) -> Option<(TopicName, u64)>;

    /// What its credentials allow.
    fn grant(&self) -> GrantSeen;

    /// Closes it.
    fn close(&self, code: CloseCode, reason: &str);

    /// Ends its subscription to the topic of that name, and tells it so; says whether there was one.
    fn end_subscription(&self, topic: &str) -> bool;
}

/// A connection at a glance: what costs as much however much it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) id: ConnectionId,
    pub(crate) user: Option<Arc<str>>,
    /// Where its client is: with the port of its peer, or as a proxy that is trusted says. `None` where the system no longer
    /// knows it.
    pub(crate) address: Option<String>,
    /// How it speaks: `json`, `msgpack` or `raw`.
    pub(crate) protocol: &'static str,
    pub(crate) worker: usize,
    /// Whether it is open: it is closing otherwise.
    pub(crate) is_open: bool,
    pub(crate) subscriptions: usize,
    /// Subscriptions that are out of step, and catch up at their own pace.
    pub(crate) behind: usize,
    /// Bytes that wait to be written.
    pub(crate) queued_bytes: usize,
    /// Bytes that it is charged for, of messages on their way in and out.
    pub(crate) held_bytes: usize,
    /// For how long its socket has taken nothing; `None` while it takes something.
    pub(crate) blocked_for: Option<Duration>,
}

/// A subscription of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionSeen {
    pub(crate) topic: TopicName,
    /// Publications that it has yet to get, of which its topic may keep no longer all.
    pub(crate) lag: u64,
    pub(crate) is_behind: bool,
    pub(crate) echo: bool,
    pub(crate) on_lag: OnLag,
}

/// What credentials allow, as patterns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GrantSeen {
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
}

/// What is asked of a worker: done once, on its thread, in one piece that has bounds of its own.
pub(crate) struct Inquiry(Work);

type Work = Box<dyn FnOnce(&dyn Host) + Send>;

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquiry").finish_non_exhaustive()
    }
}

impl Inquiry {
    pub(super) fn new(work: impl FnOnce(&dyn Host) + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Does what is asked, on the worker's thread.
    pub(crate) fn answer(self, host: &dyn Host) {
        (self.0)(host);
    }
}

/// Has a look at each of these connections, of which the worker may have some: what was seen of those that it was looked for
/// before the worker's time was up, which is one at least.
pub(super) fn look_at_each<T>(
    host: &dyn Host,
    asked: &[(u32, ConnectionId)],
    look: impl Fn(&dyn Visited) -> T,
) -> Vec<Option<T>> {
    let began = Instant::now();
    let mut seen = Vec::with_capacity(asked.len());
    for &(key, id) in asked.iter().take(ASKED_MAX) {
        let mut found = None;
        host.visit(key, id, &mut |visited| found = Some(look(visited)));
        seen.push(found);
        if began.elapsed() > CYCLE_MAX {
            // One that subscribes to much takes long to close.
            break;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow;

    impl Host for Slow {
        fn visit(&self, _: u32, _: ConnectionId, _: &mut dyn FnMut(&dyn Visited)) {
            let began = Instant::now();
            while began.elapsed() <= CYCLE_MAX {}
        }

        fn blocked(&self, _: usize, _: &mut dyn FnMut(&dyn Visited)) {}
    }

    #[test]
    fn an_inquiry_takes_no_longer_than_its_time_and_gets_on_all_the_same() {
        let asked: Vec<_> = (1..=1000).map(|id| (0, ConnectionId::new(id))).collect();
        let seen = look_at_each(&Slow, &asked, |_| ());
        assert_eq!(seen, [None], "the rest is asked for again");
    }
}
