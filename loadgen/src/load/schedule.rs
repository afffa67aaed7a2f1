//! Which publication is due when, by whom and where: arithmetic alone, fixed before the run starts.

use std::time::Duration;

/// The publications of a run, numbered from 0 by the time they are due.
///
/// They are spread evenly over time; publishers and topics take turns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    rate: f64,
    publishers: u32,
    topics: u32,
    /// The greatest common divisor of publishers and topics: a publisher and a topic meet where the rest of
    /// both by it is the same.
    common: u32,
    /// What turns a publisher and a topic back into their pair: see [`pair`](Self::pair).
    inverse: u64,
    /// How many different pairs of a publisher and a topic there are: those of the first so many slots.
    pairs: u64,
    warmup_count: u64,
    count: u64,
}

/// One publication of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) publisher: u32,
    pub(crate) topic: u32,
    /// Which of the schedule's pairs of a publisher and a topic it belongs to.
    pub(crate) pair: u64,
    /// 0, 1, 2 ... within that pair.
    pub(crate) sequence: u32,
    /// False during warm-up.
    pub(crate) measured: bool,
}

impl Schedule {
    /// `rate` publications a second in all for `warmup` and then for `duration`.
    pub(crate) fn new(
        rate: f64,
        publishers: u32,
        topics: u32,
        warmup: Duration,
        duration: Duration,
    ) -> Result<Self, String> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(format!("the rate must be above 0, not {rate}"));
        }
        if publishers == 0 || topics == 0 {
            return Err("at least one publisher and one topic are needed".into());
        }
        let count_in = |time: Duration| (time.as_secs_f64() * rate).round() as u64;
        let (warmup_count, measured_count) = (count_in(warmup), count_in(duration));
        if measured_count == 0 {
            return Err(format!("at a rate of {rate} nothing is published within {duration:?}"));
        }
        let common = greatest_common_divisor(publishers, topics);
        let (steps, modulus) = (u64::from(publishers / common), u64::from(topics / common));
        let inverse = (0..modulus).find(|n| steps * n % modulus == 1 % modulus);
        let inverse = inverse.expect("what has no common divisor has an inverse");
        let count = warmup_count + measured_count;
        let pairs = steps * u64::from(topics);
        if u32::try_from(count / pairs).is_err() {
            return Err("more publications than can be numbered: shorten the duration".into());
        }
        Ok(Self { rate, publishers, topics, common, inverse, pairs, warmup_count, count })
    }

    /// A schedule without publications.
    pub(crate) fn empty() -> Self {
        let (publishers, topics, common, inverse, pairs) = (1, 1, 1, 0, 1);
        Self { rate: 1.0, publishers, topics, common, inverse, pairs, warmup_count: 0, count: 0 }
    }

    /// How many publishers publish to a topic: to each as many.
    pub(crate) fn publishers_of_topic(&self) -> u32 {
        self.publishers / self.common
    }

    /// How many there are, warm-up included.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many go to this topic, warm-up included.
    pub(crate) fn count_of_topic(&self, topic: u32) -> u64 {
        let topics = u64::from(self.topics);
        self.count / topics + u64::from(u64::from(topic) < self.count % topics)
    }

    /// How many of those are measured.
    pub(crate) fn measured_of_topic(&self, topic: u32) -> u64 {
        let warmup = Self { count: self.warmup_count, ..self.clone() };
        self.count_of_topic(topic) - warmup.count_of_topic(topic)
    }

    /// How many of a publisher's publications to a topic, from number `from` to below `to`, are measured.
    pub(crate) fn measured_between(&self, publisher: u32, topic: u32, from: u32, to: u32) -> u64 {
        let Some(pair) = self.pair(publisher, topic) else { return 0 };
        let first = self.warmup_count.saturating_sub(pair).div_ceil(self.pairs());
        u64::from(to).saturating_sub(first.max(from.into()))
    }

    /// Which number the publication `sequence` of a pair has, where there is such a one.
    pub(crate) fn number(&self, pair: u64, sequence: u32) -> Option<u64> {
        let n = pair + u64::from(sequence) * self.pairs;
        (n < self.count).then_some(n)
    }

    /// Which pair a publisher and a topic are, where they meet: the one number below that of all pairs with
    /// the publisher as its rest by the publishers and the topic as its rest by the topics.
    pub(crate) fn pair(&self, publisher: u32, topic: u32) -> Option<u64> {
        let exist = publisher < self.publishers && topic < self.topics;
        if !exist || publisher % self.common != topic % self.common {
            return None;
        }
        let apart = (i64::from(topic) - i64::from(publisher)) / i64::from(self.common);
        let modulus = u64::from(self.topics / self.common);
        let rounds = apart.rem_euclid(modulus as i64) as u64 * self.inverse % modulus;
        Some(u64::from(publisher) + rounds * u64::from(self.publishers))
    }

    /// How many are measured: the last ones.
    pub(crate) fn measured_count(&self) -> u64 {
        self.count - self.warmup_count
    }

    /// When number `n` is due, in nanoseconds from the start.
    pub(crate) fn due_ns(&self, n: u64) -> u64 {
        (n as f64 * 1e9 / self.rate).round() as u64
    }

    /// When the first measured one is due, in nanoseconds from the start.
    pub(crate) fn measured_from_ns(&self) -> u64 {
        self.due_ns(self.warmup_count)
    }

    /// When the schedule is over, in nanoseconds from the start.
    pub(crate) fn end_ns(&self) -> u64 {
        self.due_ns(self.count)
    }

    /// Number `n`.
    pub(crate) fn slot(&self, n: u64) -> Slot {
        let pairs = self.pairs();
        Slot {
            publisher: (n % u64::from(self.publishers)) as u32,
            topic: (n % u64::from(self.topics)) as u32,
            pair: n % pairs,
            sequence: (n / pairs) as u32,
            measured: self.is_measured(n),
        }
    }

    /// Whether number `n` counts: false during warm-up.
    pub(crate) fn is_measured(&self, n: u64) -> bool {
        n >= self.warmup_count
    }

    /// How many different pairs of a publisher and a topic there are: those of the first so many slots.
    pub(crate) fn pairs(&self) -> u64 {
        self.pairs
    }

    /// The greatest common divisor of publishers and topics: a publisher and a topic meet where the rest of
    /// both by it is the same.
    pub(crate) fn common(&self) -> u32 {
        self.common
    }

    /// Whether number `n` is the last one of its publisher.
    pub(crate) fn is_last_of_publisher(&self, n: u64) -> bool {
        n + u64::from(self.publishers) >= self.count
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn schedule(publishers: u32, topics: u32) -> Schedule {
        let (warmup, duration) = (Duration::from_millis(100), Duration::from_secs(1));
        Schedule::new(1000.0, publishers, topics, warmup, duration).expect("a schedule")
    }

    #[test]
    fn publications_are_due_at_even_steps_that_do_not_drift() {
        let schedule = Schedule::new(3.0, 1, 1, Duration::ZERO, Duration::from_secs(3600)).expect("valid");
        assert_eq!(schedule.count(), 10_800);
        assert_eq!(schedule.due_ns(1), 333_333_333);
        assert_eq!(schedule.due_ns(3 * 3600), 3_600_000_000_000);
        assert_eq!(schedule.end_ns(), 3_600_000_000_000);
    }

    #[test]
    fn the_warm_up_comes_first_and_is_not_measured() {
        let schedule = schedule(1, 1);
        assert_eq!((schedule.count(), schedule.measured_count()), (1100, 1000));
        assert!(!schedule.slot(99).measured);
        assert!(schedule.slot(100).measured);
        assert_eq!(schedule.measured_from_ns(), 100_000_000);
    }

    #[test]
    fn every_pair_of_publisher_and_topic_counts_from_zero_without_a_hole() {
        for (publishers, topics) in [(1, 1), (3, 2), (4, 6), (10, 1), (1, 10), (7, 7)] {
            let schedule = schedule(publishers, topics);
            let mut next: HashMap<(u32, u32), (u64, u32)> = HashMap::new();
            for n in 0..schedule.count() {
                let slot = schedule.slot(n);
                let (pair, sequence) = next.entry((slot.publisher, slot.topic)).or_insert((slot.pair, 0));
                assert_eq!((slot.pair, slot.sequence), (*pair, *sequence));
                assert_eq!(schedule.pair(slot.publisher, slot.topic), Some(slot.pair));
                assert_eq!(schedule.number(slot.pair, slot.sequence), Some(n));
                *sequence += 1;
            }
            assert_eq!(next.len() as u64, schedule.pairs());
            for topic in 0..topics {
                let counted = next.iter().filter(|((_, of), _)| *of == topic).map(|(_, (_, count))| *count);
                assert_eq!(counted.map(u64::from).sum::<u64>(), schedule.count_of_topic(topic));
            }
            let common = schedule.common();
            assert!(next.keys().all(|(publisher, topic)| publisher % common == topic % common));
            assert_eq!(next.len() as u32, publishers * topics / common);
            let strangers = [(publishers, 0), (0, topics), (0, 1), (1, 0)];
            for pair in strangers.iter().filter(|pair| !next.contains_key(pair)) {
                assert_eq!(schedule.pair(pair.0, pair.1), None, "{publishers}, {topics}: {pair:?}");
            }
            assert_eq!(schedule.number(0, schedule.count() as u32), None, "the schedule is over by then");
        }
    }

    #[test]
    fn what_is_measured_of_a_topic_or_a_pair_is_what_its_slots_say() {
        for (publishers, topics) in [(1, 1), (3, 2), (4, 6), (10, 1), (1, 10), (7, 7)] {
            let schedule = schedule(publishers, topics);
            let mut measured = vec![0; topics as usize];
            for n in 0..schedule.count() {
                let Slot { publisher, topic, sequence, .. } = schedule.slot(n);
                let counted = schedule.measured_between(publisher, topic, sequence, sequence + 1);
                assert_eq!(counted, u64::from(schedule.slot(n).measured), "{publishers}, {topics}: {n}");
                measured[topic as usize] += counted;
            }
            for (topic, counted) in (0..topics).zip(measured) {
                assert_eq!(schedule.measured_of_topic(topic), counted);
            }
        }
    }

    #[test]
    fn each_publisher_has_one_last_publication() {
        let schedule = schedule(7, 3);
        let last: Vec<u64> = (0..schedule.count()).filter(|n| schedule.is_last_of_publisher(*n)).collect();
        assert_eq!(last.len(), 7);
        assert_eq!(last.last(), Some(&1099));
    }

    #[test]
    fn a_schedule_without_publications_is_refused() {
        let second = Duration::from_secs(1);
        for (rate, publishers, topics) in
            [(0.0, 1, 1), (f64::NAN, 1, 1), (0.1, 1, 1), (1.0, 0, 1), (1.0, 1, 0)]
        {
            assert!(Schedule::new(rate, publishers, topics, Duration::ZERO, second).is_err());
        }
    }
}
