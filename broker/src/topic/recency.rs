//! Which topics lose history first when the budget is passed: those that were used longest ago.

use std::sync::Arc;
use std::time::Duration;

use super::Topic;
use super::agenda::Agenda;
use crate::budget::Budget;
use crate::clock::Uptime;

/// Topics that one call looks at. What it does is paid for already: a topic that gives something has had something
/// published, one that stands too far in front was used since. This bounds how much of it one publication pays.
const STEPS_MAX: usize = 256;
/// Topics that one call passes over because nothing of theirs may go now.
const PASSED_OVER_MAX: usize = 8;
/// A topic passed over is left alone so long, and twice as long each further time.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_DOUBLINGS_MAX: u8 = 12;

/// Topics that keep something, by when they were used. Where one stands may lag behind its use, which is mended
/// when it comes up.
#[derive(Debug)]
pub(crate) struct Recency {
    topics: Agenda<Topic>,
}

impl Recency {
    pub(crate) fn new() -> Self {
        Self { topics: Agenda::new(|topic| &topic.ledger.by_use) }
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
    /// at all. Returns whether there is more to do than one call does.
    pub(crate) fn evict(&self, budget: &Budget) -> bool {
        let mut passed_over = 0;
        for _ in 0..STEPS_MAX {
            if !budget.is_over() || passed_over == PASSED_OVER_MAX {
                return false;
            }
            let now = Uptime::now();
            let is_urgent = budget.is_exhausted();
            // Who was passed over stands in the future. Where it is urgent, nobody's pause is respected.
            let until = if is_urgent { Uptime::from_ms(u64::MAX) } else { now };
            let Some((at, topic)) = self.topics.pop_until(until) else { return false };
            let used_at = topic.used_at();
            if used_at > at {
                // Used since it was filed: not the least recently used after all.
                self.topics.file(&topic, used_at);
            } else if !topic.evict_half(is_urgent) {
                passed_over += 1;
                let pause = PAUSE_MIN * (1 << topic.ledger.passed_over(PAUSE_DOUBLINGS_MAX));
                self.topics.file(&topic, now.plus(pause));
            } else {
                topic.ledger.gave_way();
                if topic.keeps() {
                    self.topics.file(&topic, at);
                } else {
                    self.enter(&topic);
                }
            }
        }
        true
    }
}
