//! What the subscribers of one thread have seen.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::payload::Stamp;
use crate::report::Trouble;
use crate::schedule::Schedule;
use crate::sequence::{Arrival, Sequence};
use crate::subscriber::{Returned, Woken};

/// Longest latency told apart from longer ones: a minute, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Most different troubles that are kept; the rest is counted together.
const TROUBLES_MAX: usize = 16;

/// A histogram of nanoseconds with three digits, up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("these bounds are valid")
}

/// Counts and latencies; those of several threads add up. Warm-up stays out of all but the gaps.
#[derive(Debug)]
pub(crate) struct Tally {
    /// From the moment each publication was due, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Each publication once for each subscriber.
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    /// Delivered after something newer of the same publisher and topic.
    pub(crate) out_of_order: u64,
    /// Not delivered although something newer of the same publisher and topic was.
    pub(crate) holes: u64,
    /// Publications that the broker said were missed.
    pub(crate) gaps: u64,
    /// Messages that nobody asked for, or that came back changed.
    pub(crate) strays: u64,
    /// Connections that ended before their time.
    pub(crate) disconnected: u64,
    /// What stuck subscribers found; all other figures are those of the others.
    pub(crate) woken: Woken,
    /// How those came back that were cut off.
    pub(crate) returned: Returned,
    pub(crate) troubles: Troubles,
    /// When the last counted delivery was read.
    pub(crate) last_delivery_ns: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latency: histogram(),
            delivered: 0,
            duplicates: 0,
            out_of_order: 0,
            holes: 0,
            gaps: 0,
            strays: 0,
            disconnected: 0,
            woken: Woken::default(),
            returned: Returned::new(),
            troubles: Troubles::default(),
            last_delivery_ns: 0,
        }
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.holes += other.holes;
        self.gaps += other.gaps;
        self.strays += other.strays;
        self.disconnected += other.disconnected;
        self.woken.add(&other.woken);
        self.returned.add(&other.returned);
        self.troubles.add(&other.troubles);
        self.last_delivery_ns = self.last_delivery_ns.max(other.last_delivery_ns);
    }
}

/// What went wrong, in words, and how often.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<String, u64>);

impl Troubles {
    /// Counts one more of it.
    pub(crate) fn count(&mut self, what: &str) {
        self.count_times(what, 1);
    }

    /// Adds those of somebody else.
    pub(crate) fn add(&mut self, other: &Self) {
        other.iter().for_each(|(what, times)| self.count_times(what, times));
    }

    /// Each trouble with how often it came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, times)| (what.as_str(), *times))
    }

    /// As a report says them.
    pub(crate) fn to_report(&self) -> Vec<Trouble> {
        self.iter().map(|(what, count)| Trouble { what: what.to_owned(), count }).collect()
    }

    fn count_times(&mut self, what: &str, times: u64) {
        let full = self.0.len() >= TROUBLES_MAX && !self.0.contains_key(what);
        *self.0.entry(if full { "other troubles" } else { what }.to_owned()).or_default() += times;
    }
}

/// What one subscriber expects: publications of its topics, each publisher's in order and once.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Ascending.
    topics: Box<[u32]>,
    schedule: Schedule,
    /// See [`Schedule::common`]; every delivery asks for it.
    common: u32,
    /// For each topic, one for each publisher that publishes there.
    sequences: Box<[Sequence]>,
}

impl Expectation {
    /// Of a subscriber of these topics, ascending.
    pub(crate) fn new(topics: Vec<u32>, schedule: &Schedule) -> Self {
        let common = schedule.common();
        let pairs = topics.len() * (schedule.publishers() / common) as usize;
        let sequences = (0..pairs).map(|_| Sequence::default()).collect();
        Self { topics: topics.into(), schedule: schedule.clone(), common, sequences }
    }

    fn sequence(&mut self, Stamp { publisher, topic, .. }: Stamp) -> Option<&mut Sequence> {
        let at = self.topics.binary_search(&topic).ok()?;
        let publishers = self.schedule.publishers();
        let (each, publishes_there) =
            (publishers / self.common, publisher % self.common == topic % self.common);
        let belongs = publisher < publishers && publishes_there;
        belongs.then(|| &mut self.sequences[at * each as usize + (publisher / self.common) as usize])
    }

    /// What the arrival of a publication is; nothing where it is none of this subscriber's.
    pub(crate) fn arrived(&mut self, stamp: Stamp) -> Option<Arrival> {
        Some(self.sequence(stamp)?.arrived(stamp.sequence))
    }

    /// How many publications have arrived, or were left out before one that has.
    pub(crate) fn seen(&self) -> u64 {
        self.sequences.iter().map(|sequence| u64::from(sequence.next())).sum()
    }

    /// Holds a delivery read at `now_ns` against what was expected.
    pub(crate) fn check(&mut self, stamp: Stamp, now_ns: u64, tally: &mut Tally) {
        let Some(sequence) = self.sequence(stamp) else { return tally.strays += 1 };
        let due_next = sequence.next();
        let arrival = sequence.arrived(stamp.sequence);
        if !stamp.measured {
            return;
        }
        match arrival {
            Arrival::Duplicate => return tally.duplicates += 1,
            Arrival::InOrder if stamp.sequence > due_next => {
                let Stamp { publisher, topic, sequence, .. } = stamp;
                tally.holes += self.schedule.measured_between(publisher, topic, due_next, sequence);
            }
            Arrival::InOrder => {}
            Arrival::Late => {
                tally.out_of_order += 1;
                tally.holes = tally.holes.saturating_sub(1);
            }
        }
        tally.delivered += 1;
        tally.last_delivery_ns = now_ns;
        tally.latency.saturating_record(now_ns.saturating_sub(stamp.due_ns));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Of topics 1 and 2 of 6, to which publishers 1 and 3, and 0 and 2, publish.
    fn expectation() -> Expectation {
        let second = Duration::from_secs(1);
        let schedule = Schedule::new(100.0, 4, 6, second, second).expect("a schedule");
        Expectation::new(vec![1, 2], &schedule)
    }

    fn stamp(sequence: u32) -> Stamp {
        Stamp { measured: true, publisher: 2, topic: 2, sequence, due_ns: 1_000_000 }
    }

    #[test]
    fn what_does_not_belong_to_the_subscriber_is_a_stray() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        for (publisher, topic) in [(2, 3), (2, 0), (1, 2), (4, 2), (3, 3)] {
            expectation.check(Stamp { publisher, topic, ..stamp(0) }, 2_000_000, &mut tally);
        }
        assert_eq!((tally.strays, tally.delivered), (5, 0));
    }

    #[test]
    fn every_publisher_and_topic_is_followed_apart() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        for (publisher, topic) in [(1, 1), (3, 1), (0, 2), (2, 2)] {
            expectation.check(Stamp { publisher, topic, ..stamp(0) }, 2_000_000, &mut tally);
        }
        assert_eq!((tally.strays, tally.duplicates, tally.delivered), (0, 0, 4));
    }

    #[test]
    fn warm_up_is_followed_but_not_counted() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        for sequence in [0, 1, 1, 0] {
            expectation.check(Stamp { measured: false, ..stamp(sequence) }, 2_000_000, &mut tally);
        }
        assert_eq!((tally.delivered, tally.duplicates, tally.latency.len()), (0, 0, 0));
        expectation.check(stamp(1), 2_000_000, &mut tally);
        assert_eq!(tally.duplicates, 1, "it was delivered during warm-up");
    }

    #[test]
    fn a_hole_is_what_something_newer_has_overtaken_and_was_measured() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        // Of the 100 publications of warm-up those of this publisher to this topic are number 0 to 8.
        let mut check = |sequence: u32| {
            let stamp = Stamp { measured: sequence >= 9, ..stamp(sequence) };
            expectation.check(stamp, 2_000_000, &mut tally);
            tally.holes
        };
        assert_eq!([3, 10, 14, 15].map(&mut check), [0, 1, 4, 4]);
        assert_eq!([12, 12, 6, 11, 13].map(&mut check), [3, 3, 3, 2, 1]);
    }

    #[test]
    fn latency_runs_from_the_moment_the_publication_was_due() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        expectation.check(stamp(0), 3_500_000, &mut tally);
        expectation.check(stamp(2), 90_000_000_000_000, &mut tally);
        expectation.check(stamp(1), 3_500_000, &mut tally);
        assert!(tally.latency.equivalent(tally.latency.value_at_quantile(0.5), 2_500_000));
        assert!(tally.latency.equivalent(tally.latency.max(), LATENCY_NS_MAX), "cut off at a minute");
        assert_eq!((tally.delivered, tally.out_of_order), (3, 1));
    }

    #[test]
    fn tallies_of_threads_add_up() {
        let mut sum = Tally::new();
        for last in [7_000_000, 5_000_000] {
            let (mut expectation, mut tally) = (expectation(), Tally::new());
            expectation.check(stamp(0), last, &mut tally);
            expectation.check(stamp(0), last, &mut tally);
            tally.troubles.count("closed");
            sum.add(&tally);
        }
        assert_eq!((sum.delivered, sum.duplicates, sum.latency.len()), (2, 2, 2));
        assert_eq!(sum.last_delivery_ns, 7_000_000);
        assert_eq!(sum.troubles.iter().collect::<Vec<_>>(), [("closed", 2)]);
    }

    #[test]
    fn the_number_of_different_troubles_is_bounded() {
        let mut troubles = Troubles::default();
        for n in 0..100 {
            troubles.count(&format!("trouble {n:02}"));
        }
        assert_eq!(troubles.iter().count(), TROUBLES_MAX + 1);
        assert!(troubles.iter().any(|trouble| trouble == ("other troubles", 84)));
    }
}
