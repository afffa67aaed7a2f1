//! What one subscriber expects, and what each delivery is held against.

use super::Tally;
use super::sequence::{Arrival, Sequence};
use crate::load::schedule::Schedule;
use crate::machine::thread::Counter;
use crate::target::Place;
use crate::wire::payload::Stamp;

/// What one subscriber expects: publications of its topics, each publisher's in order and once.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Ascending.
    topics: Box<[u32]>,
    schedule: Schedule,
    /// When the schedule started, on the clock of [`now_ns`](crate::machine::clock::now_ns): set before anything
    /// comes.
    start_ns: Counter,
    /// How many publishers publish to each topic, and by what they differ: each delivery asks for it.
    publishers_each: u32,
    publishers_apart: u32,
    /// The streams of each topic, one for each publisher that publishes there.
    streams: Box<[PublisherStream]>,
    /// The offset of the last publication of each topic that said its own.
    offsets: Box<[u64]>,
    /// How many publications there will be for it, warm-up included.
    count: u64,
    /// How many have come.
    arrived: u64,
    /// How many the broker said were missed.
    told: u64,
}

/// What comes from one publisher on one topic.
#[derive(Debug)]
struct PublisherStream {
    publisher: u32,
    /// See [`Schedule::pair`].
    pair: u64,
    sequence: Sequence,
}

impl Expectation {
    /// The expectation of a subscriber of these topics, ascending.
    pub(crate) fn new(topics: Vec<u32>, schedule: &Schedule, start_ns: Counter) -> Self {
        let (publishers_each, publishers_apart) = (schedule.publishers_of_topic(), schedule.common());
        let stream = |topic: u32, n: u32| {
            let publisher = topic % publishers_apart + n * publishers_apart;
            let pair = schedule.pair(publisher, topic).expect("they meet");
            PublisherStream { publisher, pair, sequence: Sequence::default() }
        };
        let streams = |topic: u32| (0..publishers_each).map(move |n| stream(topic, n));
        Self {
            streams: topics.iter().flat_map(|topic| streams(*topic)).collect(),
            publishers_each,
            publishers_apart,
            offsets: vec![0; topics.len()].into(),
            count: topics.iter().map(|topic| schedule.count_of_topic(*topic)).sum(),
            topics: topics.into(),
            schedule: schedule.clone(),
            start_ns,
            arrived: 0,
            told: 0,
        }
    }

    /// What the arrival of a publication is, and the number that was due next of its publisher and topic.
    ///
    /// # Errors
    /// Why it has no place here: its stamp and all that is around it are held against what was published.
    pub(crate) fn arrived(
        &mut self,
        stamp: Stamp,
        place: Option<Place>,
    ) -> Result<(Arrival, u32), &'static str> {
        let Stamp { measured, publisher, topic, sequence, due_ns } = stamp;
        let single = self.streams.len() == 1;
        let at = self.topics.binary_search(&topic).map_err(|_| "what was meant for others")?;
        let n = publisher / self.publishers_apart;
        let stream = self.streams.get_mut(at * self.publishers_each as usize + n as usize);
        let stream = stream.filter(|stream| n < self.publishers_each && stream.publisher == publisher);
        let stream = stream.ok_or("what was meant for others")?;
        let number = self.schedule.number(stream.pair, sequence).ok_or("what was never published")?;
        let due = self.start_ns.get() + self.schedule.due_ns(number);
        if (measured, due_ns) != (self.schedule.is_measured(number), due) {
            return Err("a publication with another stamp than it was given");
        }
        let due_next = stream.sequence.next();
        if let Some(Place { subscription, offset }) = place {
            // With one publisher the offset follows from the sequence, but for publications that were refused.
            let most = if self.publishers_each == 1 {
                u64::from(sequence) + 1
            } else {
                self.schedule.count_of_topic(topic)
            };
            let least = if single { self.arrived + 1 } else { self.offsets[at] + 1 };
            if subscription != at {
                return Err("a publication with another topic around it");
            }
            if sequence >= due_next {
                if !(least..=most).contains(&offset) {
                    return Err("a publication with an offset that it cannot have");
                }
                self.offsets[at] = offset;
            }
        }
        let arrival = stream.sequence.arrived(sequence);
        self.arrived += u64::from(arrival != Arrival::Duplicate);
        Ok((arrival, due_next))
    }

    /// The broker says that so many were missed.
    pub(crate) fn told(&mut self, missed: u64) {
        self.told = self.told.saturating_add(missed);
    }

    /// How many more it has said were missed than can be, now that so many have come: in the end, than were.
    pub(crate) fn over_told(&self) -> u64 {
        self.told.saturating_add(self.arrived).saturating_sub(self.count)
    }

    /// How many publications have arrived, or were left out before one that has.
    pub(crate) fn seen(&self) -> u64 {
        self.streams.iter().map(|stream| u64::from(stream.sequence.next())).sum()
    }

    /// Holds a delivery read at `now_ns` against what was expected.
    pub(crate) fn check(&mut self, stamp: Stamp, place: Option<Place>, now_ns: u64, tally: &mut Tally) {
        let before = self.over_told();
        let (arrival, due_next) = match self.arrived(stamp, place) {
            Ok(arrived) => arrived,
            Err(why) => return tally.stray(why),
        };
        tally.over_told += self.over_told() - before;
        match arrival {
            // Of warm-up too: whoever doubles may as well say that it was that.
            Arrival::Duplicate => return tally.duplicates += 1,
            _ if !stamp.measured => return,
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

    /// Holds a gap against what can be missing.
    pub(crate) fn check_gap(&mut self, missed: u64, tally: &mut Tally) {
        let before = self.over_told();
        self.told(missed);
        tally.gaps = tally.gaps.saturating_add(missed);
        tally.over_told = tally.over_told.saturating_add(self.over_told() - before);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::tally::histogram::LATENCY_NS_MAX;

    const START_NS: u64 = 1_000_000;

    fn schedule() -> Schedule {
        let second = Duration::from_secs(1);
        Schedule::new(100.0, 4, 6, second, second).expect("a schedule")
    }

    /// The expectation of topics 1 and 2 of 6, to which publishers 1 and 3, and 0 and 2, publish.
    fn expectation() -> Expectation {
        let start_ns = Counter::default();
        start_ns.set(START_NS);
        Expectation::new(vec![1, 2], &schedule(), start_ns)
    }

    /// A stamp of publisher 2 on topic 2: number 0 to 8 are of the 100 publications of warm-up.
    fn stamp(sequence: u32) -> Stamp {
        stamp_of(2, 2, sequence)
    }

    fn stamp_of(publisher: u32, topic: u32, sequence: u32) -> Stamp {
        let schedule = schedule();
        let pair = schedule.pair(publisher, topic).unwrap_or_default();
        let number = schedule.number(pair, sequence).unwrap_or_default();
        let (measured, due_ns) = (schedule.is_measured(number), START_NS + schedule.due_ns(number));
        Stamp { measured, publisher, topic, sequence, due_ns }
    }

    /// What comes of deliveries a millisecond after they were due.
    fn check(expectation: &mut Expectation, stamps: impl IntoIterator<Item = Stamp>, tally: &mut Tally) {
        for stamp in stamps {
            expectation.check(stamp, None, stamp.due_ns + 1_000_000, tally);
        }
    }

    #[test]
    fn what_does_not_belong_to_the_subscriber_is_a_stray() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let strangers = [(2, 3), (2, 0), (1, 2), (4, 2), (3, 3)];
        let strangers = strangers.map(|(publisher, topic)| stamp_of(publisher, topic, 9));
        check(&mut expectation, strangers, &mut tally);
        assert_eq!((tally.strays, tally.delivered), (5, 0));
    }

    #[test]
    fn a_stamp_that_the_schedule_has_not_is_a_stray() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let early = Stamp { due_ns: stamp(9).due_ns - 1, ..stamp(9) };
        let warm_up = Stamp { measured: false, ..stamp(9) };
        let never = Stamp { sequence: 17, due_ns: START_NS + 2_060_000_000, ..stamp(9) };
        check(&mut expectation, [early, warm_up, never], &mut tally);
        assert_eq!((tally.strays, tally.delivered), (3, 0));
        check(&mut expectation, [stamp(9), stamp(16)], &mut tally);
        assert_eq!((tally.strays, tally.delivered), (3, 2));
    }

    #[test]
    fn what_a_message_says_around_its_payload_must_fit_it() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let mut placed = |sequence: u32, subscription: usize, offset: u64| {
            let place = Some(Place { subscription, offset });
            expectation.check(stamp(sequence), place, stamp(sequence).due_ns, &mut tally);
            tally.strays
        };
        assert_eq!(placed(9, 1, 20), 0);
        assert_eq!(placed(10, 0, 21), 1, "another topic");
        assert_eq!(placed(10, 1, 20), 2, "the offset of another publication");
        assert_eq!(placed(10, 1, 34), 3, "an offset that none will have");
        assert_eq!(placed(10, 1, 33), 3);
    }

    #[test]
    fn with_one_publisher_an_offset_is_what_the_sequence_says() {
        let second = Duration::from_secs(1);
        let schedule = Schedule::new(100.0, 1, 1, Duration::ZERO, second).expect("a schedule");
        let mut expectation = Expectation::new(vec![0], &schedule, Counter::default());
        let mut tally = Tally::new();
        for (sequence, offset, strays) in [(0, 1, 0), (1, 3, 1), (1, 1, 2), (1, 2, 2), (5, 3, 2)] {
            let due_ns = schedule.due_ns(sequence.into());
            let stamp = Stamp { measured: true, publisher: 0, topic: 0, sequence, due_ns };
            let place = Some(Place { subscription: 0, offset });
            expectation.check(stamp, place, due_ns, &mut tally);
            assert_eq!(tally.strays, strays, "{sequence} at {offset}");
        }
    }

    #[test]
    fn every_publisher_and_topic_is_followed_apart() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let all = [(1, 1), (3, 1), (0, 2), (2, 2)].map(|(publisher, topic)| stamp_of(publisher, topic, 9));
        check(&mut expectation, all, &mut tally);
        assert_eq!((tally.strays, tally.duplicates, tally.delivered), (0, 0, 4));
    }

    #[test]
    fn of_warm_up_only_what_comes_twice_is_counted() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        check(&mut expectation, [0, 1, 1, 0].map(stamp), &mut tally);
        assert_eq!((tally.delivered, tally.duplicates, tally.latency.len()), (0, 2, 0));
    }

    #[test]
    fn a_hole_is_what_something_newer_has_overtaken_and_was_measured() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let mut holes = |sequence: u32| {
            check(&mut expectation, [stamp(sequence)], &mut tally);
            tally.holes
        };
        assert_eq!([3, 10, 14, 15].map(&mut holes), [0, 1, 4, 4]);
        assert_eq!([12, 12, 6, 11, 13].map(&mut holes), [3, 3, 3, 2, 1]);
    }

    #[test]
    fn told_is_held_against_what_can_be_missing() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        // To both topics together there are 67 publications.
        expectation.check_gap(60, &mut tally);
        check(&mut expectation, [9, 10].map(stamp), &mut tally);
        assert_eq!((tally.gaps, tally.over_told), (60, 0));
        check(&mut expectation, (0..8).map(stamp), &mut tally);
        assert_eq!(tally.over_told, 60 + 10 - expectation.count, "what has come cannot be missing");
        expectation.check_gap(u64::MAX, &mut tally);
        assert_eq!(tally.gaps, u64::MAX, "as large as may be");
    }

    #[test]
    fn latency_runs_from_the_moment_the_publication_was_due() {
        let (mut expectation, mut tally) = (expectation(), Tally::new());
        let mut late = |sequence: u32, by_ns: u64| {
            expectation.check(stamp(sequence), None, stamp(sequence).due_ns + by_ns, &mut tally);
        };
        late(9, 2_500_000);
        late(11, 90_000_000_000_000);
        late(10, 2_500_000);
        assert!(tally.latency.equivalent(tally.latency.value_at_quantile(0.5), 2_500_000));
        assert!(tally.latency.equivalent(tally.latency.max(), LATENCY_NS_MAX), "cut off at a minute");
        assert_eq!((tally.delivered, tally.out_of_order), (3, 1));
    }

    #[test]
    fn tallies_of_threads_add_up() {
        let mut sum = Tally::new();
        for last in [7_000_000, 5_000_000] {
            let (mut expectation, mut tally) = (expectation(), Tally::new());
            for _ in 0..2 {
                expectation.check(stamp(9), None, last, &mut tally);
            }
            tally.troubles.count("closed");
            sum.add(&tally);
        }
        assert_eq!((sum.delivered, sum.duplicates, sum.latency.len()), (2, 2, 2));
        assert_eq!(sum.last_delivery_ns, 7_000_000);
        assert_eq!(sum.troubles.iter().collect::<Vec<_>>(), [("closed", 2)]);
    }
}
