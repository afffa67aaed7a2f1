//! What a worker has most to do with of late, by topic: sketches whose weights fade, fed with samples.
//!
//! Noting costs the hot path a look at a counter; where little happens everything is noted, and beyond that one of [`SAMPLED`] for all
//! of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fanfare_protocol::TopicName;

use crate::clock::Uptime;
use crate::sketch::SpaceSaving;

/// Topics that a sketch knows.
const TOPICS: usize = 256;
/// The time in which what was noted loses half of its weight.
pub(crate) const HALF_LIFE: Duration = Duration::from_secs(5);
/// What happens between two [ticks](Heat::tick) is noted as it is up to so many times.
const EXACT_A_TICK: u32 = 64;
/// Of what is beyond that one of so many is noted, on average, with so much weight.
const SAMPLED: u32 = 32;
/// What weighs so much by itself is always noted: it costs as much as many.
const BYTES_NOTED: usize = 16 * 1024;
/// Deliveries of a walk that is always noted.
const DELIVERIES_NOTED: u64 = 64;
/// When weights have grown so much they are all made smaller.
const SCALE_MAX: f64 = 1e6;
/// Half-lives after which nothing is left.
const FORGOTTEN_AFTER: f64 = 64.0;
/// Weight that is as good as none.
const NOTHING: f64 = 0.01;

/// What is sketched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Publications that came in.
    Publications,
    /// Publications handed to connections.
    Deliveries,
    /// Bytes of payload that came in.
    Bytes,
}

impl Measure {
    const COUNT: usize = 3;
}

/// The sketches of one worker, which it alone feeds; anybody may read them.
#[derive(Debug)]
pub(crate) struct Heat {
    publications: Sampler,
    deliveries: Sampler,
    sketches: Mutex<Sketches>,
}

/// Invariant: a weight is written `scale` times as large as it is, which grows as those fade that were written before.
#[derive(Debug)]
struct Sketches {
    by_measure: [SpaceSaving<TopicName>; Measure::COUNT],
    scale: f64,
    /// When the scale was 1.
    since: Uptime,
}

impl Default for Heat {
    fn default() -> Self {
        let sketches = Sketches {
            by_measure: std::array::from_fn(|_| SpaceSaving::new(TOPICS)),
            scale: 1.0,
            since: Uptime::now(),
        };
        Self { publications: Sampler::new(1), deliveries: Sampler::new(2), sketches: Mutex::new(sketches) }
    }
}

impl Heat {
    /// Notes a publication of so many bytes. On the worker's own thread.
    pub(crate) fn published(&self, topic: &str, bytes: usize) {
        let sampled = self.publications.sample();
        if sampled == 0 && bytes < BYTES_NOTED {
            return;
        }
        let bytes_weight = if bytes < BYTES_NOTED { sampled } else { 1 };
        self.note(topic, Measure::Publications, sampled.into());
        self.note(topic, Measure::Bytes, f64::from(bytes_weight) * bytes as f64);
    }

    /// Notes what a walk has delivered. On the worker's own thread.
    pub(crate) fn delivered(&self, topic: &str, count: u64) {
        let weight = if count < DELIVERIES_NOTED { self.deliveries.sample() } else { 1 };
        self.note(topic, Measure::Deliveries, f64::from(weight) * count as f64);
    }

    fn note(&self, topic: &str, measure: Measure, weight: f64) {
        // While somebody reads, which takes a moment, nothing is noted: whoever serves waits for nobody.
        if weight > 0.0
            && let Ok(mut sketches) = self.sketches.try_lock()
        {
            let weight = weight * sketches.scale;
            let make = || topic.parse().expect("a topic's name is one");
            sketches.by_measure[measure as usize].add(topic, weight, make);
        }
    }

    /// Time has passed. On the worker's own thread, some times a second.
    pub(crate) fn tick(&self, now: Uptime) {
        self.publications.refill();
        self.deliveries.refill();
        if let Ok(mut sketches) = self.sketches.try_lock() {
            sketches.fade(now);
        }
    }

    /// What is known now, as counts of which [`per_second`] makes rates.
    pub(crate) fn read(&self, measure: Measure) -> SpaceSaving<TopicName> {
        let sketches = self.sketches.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sketch, scale) = (sketches.by_measure[measure as usize].clone(), sketches.scale);
        drop(sketches);
        sketch.scale(1.0 / scale, NOTHING);
        sketch
    }
}

/// The rate at which something happens that has that weight, where it has happened for long.
pub(crate) fn per_second(weight: f64) -> f64 {
    weight * std::f64::consts::LN_2 / HALF_LIFE.as_secs_f64()
}

impl Sketches {
    /// Lets what was noted weigh less.
    fn fade(&mut self, now: Uptime) {
        let half_lives = now.since(self.since).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.scale = half_lives.min(FORGOTTEN_AFTER).exp2();
        if self.scale >= SCALE_MAX {
            for sketch in &mut self.by_measure {
                sketch.scale(1.0 / self.scale, NOTHING);
            }
            (self.scale, self.since) = (1.0, now);
        }
    }
}

/// Says what of many is noted. One thread alone asks it.
#[derive(Debug)]
struct Sampler {
    exact: AtomicU32,
    skip: AtomicU32,
    random: AtomicU32,
}

impl Sampler {
    fn new(seed: u32) -> Self {
        Self { exact: AtomicU32::new(EXACT_A_TICK), skip: AtomicU32::new(0), random: AtomicU32::new(seed) }
    }

    fn refill(&self) {
        self.exact.store(EXACT_A_TICK, Ordering::Relaxed);
    }

    /// The weight with which what happens now is to be noted; mostly 0 where much happens.
    fn sample(&self) -> u32 {
        let exact = self.exact.load(Ordering::Relaxed);
        if exact > 0 {
            self.exact.store(exact - 1, Ordering::Relaxed);
            return 1;
        }
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return 0;
        }
        // At random, for topics may take turns in any order.
        self.skip.store(self.next_random() % (2 * SAMPLED - 1), Ordering::Relaxed);
        SAMPLED
    }

    /// Xorshift, which is enough for that.
    fn next_random(&self) -> u32 {
        let mut random = self.random.load(Ordering::Relaxed);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random.store(random, Ordering::Relaxed);
        random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::{Counter, merge};

    fn rates(heat: &Heat, measure: Measure) -> Vec<(String, f64, f64)> {
        let rate = |Counter { key, count, error }: Counter<TopicName>| {
            (key.to_string(), per_second(count), per_second(count - error))
        };
        merge(&[heat.read(measure)]).into_iter().map(rate).collect()
    }

    /// A worker on which `happen` happens 20 times a second, for so many seconds.
    fn run(heat: &Heat, from: u64, seconds: u64, mut happen: impl FnMut(&Heat)) {
        for tick in from * 20..(from + seconds) * 20 {
            heat.tick(Uptime::from_ms(tick * 50));
            happen(heat);
        }
    }

    fn heat() -> Heat {
        let heat = Heat::default();
        heat.sketches.lock().expect("sound").since = Uptime::from_ms(0);
        heat
    }

    #[test]
    fn a_steady_rate_is_told_and_what_has_ended_fades() {
        let heat = heat();
        run(&heat, 0, 600, |heat| {
            heat.published("busy", 100);
            heat.published("busy", 100);
            heat.published("quiet", 10_000);
            heat.delivered("crowd", 1000);
        });
        let is_near = |rate: f64, expected: f64| (rate / expected - 1.0).abs() < 0.05;
        let publications = rates(&heat, Measure::Publications);
        assert!(publications[0].0 == "busy" && is_near(publications[0].1, 40.0), "{publications:?}");
        let bytes = rates(&heat, Measure::Bytes);
        assert!(bytes[0].0 == "quiet" && is_near(bytes[0].1, 200_000.0), "{bytes:?}");
        let deliveries = rates(&heat, Measure::Deliveries);
        assert!(is_near(deliveries[0].1, 20_000.0), "{deliveries:?}");
        run(&heat, 600, 10, |_| {});
        let faded = rates(&heat, Measure::Publications);
        assert!(is_near(faded[0].1, 10.0), "a quarter is left after two half-lives: {faded:?}");
        run(&heat, 610, 600, |_| {});
        assert!(rates(&heat, Measure::Publications).is_empty(), "and then nothing, not even the name");
    }

    #[test]
    fn where_much_happens_samples_tell_the_rate() {
        let heat = heat();
        run(&heat, 0, 60, |heat| {
            for nth in 0..2000 {
                heat.published(if nth % 32 == 0 { "even" } else { "others" }, 100);
            }
        });
        let found = rates(&heat, Measure::Publications);
        let rate = |name: &str| found.iter().find(|it| it.0 == name).map_or(0.0, |it| it.1);
        assert!((rate("others") / 38_750.0 - 1.0).abs() < 0.1, "{found:?}");
        assert!(
            (rate("even") / 1250.0 - 1.0).abs() < 0.3,
            "whoever comes in turns is not overlooked: {found:?}"
        );
    }

    #[test]
    fn a_million_topics_take_no_more_room_than_a_few_and_hide_no_busy_one() {
        let heat = heat();
        let mut nth = 0;
        run(&heat, 0, 100, |heat| {
            for _ in 0..500 {
                nth += 1;
                heat.published(&format!("topic:{nth}"), 100);
                heat.published(&format!("topic:{}", 500_000 + nth), 100);
                if nth % 10 == 0 {
                    heat.published("busy", 100);
                }
            }
        });
        assert_eq!(nth, 1_000_000);
        let sketch = heat.read(Measure::Publications);
        assert!(sketch.counters().len() <= TOPICS);
        let found = rates(&heat, Measure::Publications);
        assert_eq!(found[0].0, "busy", "it comes first: {:?}", &found[..3]);
        assert!(found[0].2 > 500.0, "so much it is at least: {:?}", found[0]);
    }
}
