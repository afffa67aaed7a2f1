//! Which topics lose history first when the budget is passed: those that were used longest ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Topic;
use super::agenda::Agenda;
use crate::budget::Budget;
use crate::clock::Uptime;

/// Topics that one call looks at. What it does is paid for already: a topic that gives something has had something
/// published, one that stands too far in front was used since. This bounds how much of it one publication pays.
const STEPS_MAX: usize = 256;
/// Tries that every call that evicts earns: looks at topics of which nothing may go now, for which nobody pays.
const TRIES_EARNED: usize = 2;
/// Tries that were earned and not needed, which are kept for later at most.
const TRIES_KEPT_MAX: usize = 256;
/// The time after which a topic of which nothing may go is looked at again.
const PASSED_OVER: Duration = Duration::from_millis(1);

/// Topics that keep something, by when they were used. Where one stands may lag behind its use, which is mended
/// when it comes up.
#[derive(Debug)]
pub(crate) struct Recency {
    topics: Agenda<Topic>,
    /// Tries that were earned and not needed. Threads may overwrite each other's: it is a matter of proportion.
    tries: AtomicUsize,
}

/// What one call has done.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    /// Topics looked at of which nothing may go now.
    pub(crate) passed_over: usize,
    /// Topics looked at.
    steps: usize,
    /// Whether it ended because that is enough for one call.
    pub(crate) has_more: bool,
    /// Whether it ended because no topic is left. One that may not give anything now is not nothing: what it keeps is
    /// this list's to give, if not now then soon.
    pub(crate) is_dry: bool,
}

impl Recency {
    pub(crate) fn new() -> Self {
        let tries = AtomicUsize::new(TRIES_KEPT_MAX);
        Self { topics: Agenda::new(|topic| &topic.ledger.by_use), tries }
    }

    /// Counts the topic among those that eviction may choose from, if it keeps something. Called after whatever
    /// made it keep something.
    pub(crate) fn enter(&self, topic: &Arc<Topic>) {
        if topic.keeps() && topic.ledger.by_use.at().is_none() {
            self.topics.file(topic, topic.used_at());
        }
    }

    /// No longer counts the topic, unless it keeps something after all.
    pub(crate) fn leave(&self, topic: &Arc<Topic>) {
        if !topic.keeps() {
            self.topics.remove(topic);
            // Something may have been appended just before: either that publisher enters it anew, or we do.
            self.enter(topic);
        }
    }

    /// Evicts history of the least recently used topics until the budget is kept or nothing more may go. Where
    /// even twice the budget is used, message ids go too: better a retry that is taken for new than no publication
    /// at all.
    pub(crate) fn evict(&self, budget: &Budget) -> Eviction {
        let mut evicted = Eviction::default();
        let tries = self.tries.load(Ordering::Relaxed) + TRIES_EARNED;
        for _ in 0..STEPS_MAX {
            if !budget.is_over() || evicted.passed_over == tries {
                break;
            }
            let (now, urgent) = (Uptime::now(), budget.is_exhausted());
            // What was passed over a moment ago may have to go now.
            let until = if urgent { now.plus(2 * PASSED_OVER) } else { now };
            let Some((at, topic)) = self.topics.pop_until(until) else {
                evicted.is_dry = self.topics.is_empty();
                break;
            };
            let used_at = topic.used_at();
            if used_at > at {
                // Used since it was filed: not the least recently used after all.
                self.topics.file(&topic, used_at);
            } else if !topic.evict(urgent) {
                // Others have their turn first.
                evicted.passed_over += 1;
                self.topics.file(&topic, now.plus(PASSED_OVER));
            } else if topic.keeps() {
                self.topics.file(&topic, at);
            } else {
                // Something may have been appended just now.
                self.enter(&topic);
            }
            evicted.steps += 1;
        }
        evicted.has_more = evicted.steps == STEPS_MAX;
        self.tries.store((tries - evicted.passed_over).min(TRIES_KEPT_MAX), Ordering::Relaxed);
        evicted
    }
}
