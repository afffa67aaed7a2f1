//! Frames of small publications that several want who catch up at the same time: each is written once, not once for each
//! of them.
//!
//! Without it who catches up costs more than who is in step, so a worker with many of the former could never get them back
//! among the latter: it would stay as busy as what set them back has made it, long after that is over.

use std::collections::HashMap;
use std::sync::Arc;

use super::group::Batch;
use crate::budget::{Budget, Charge};
use crate::encoding::Encoding;
use crate::topic::Topic;
use crate::topic::publication::Publication;
use crate::topic::ring::{Cursor, Seq};

/// Indices of a run: it ends before the next multiple.
const RUN_LEN: u64 = 16;
/// Fewer publications than these are written for each as quickly as found.
const RUN_LEN_MIN: usize = 4;
/// A larger payload is for no run: what there is to gain by it is little beside its copy into the socket.
const SMALL_BYTES_MAX: usize = 1024;
/// Bytes of a generation.
const GENERATION_BYTES: usize = 1024 * 1024;
/// What a run takes beside what its batch says: its places in the map and on the heap.
const PLACE_BYTES: usize = 256;

/// Where the run of that index ends.
pub(crate) fn run_end(from: Seq) -> Seq {
    Seq::new((from.get() / RUN_LEN + 1) * RUN_LEN)
}

/// The runs that were written lately for those who catch up, in two generations: the older one goes when the newer one is full,
/// and at each look at all connections. They hold no publication, only frames.
#[derive(Debug)]
pub(crate) struct Runs {
    newer: Generation,
    older: Generation,
    /// What is on its way.
    budget: Arc<Budget>,
    /// Invariant: the bytes of both generations.
    charge: Charge,
    /// Publications on their way from the ring into a run.
    read: Vec<Arc<Publication>>,
}

/// The topic's address, which its run keeps from being given to another, the encoding, and the index by `RUN_LEN`.
type Key = (usize, Encoding, u64);

#[derive(Debug, Default)]
struct Generation {
    runs: HashMap<Key, Run>,
    /// Invariant: the bytes of `runs`.
    bytes: usize,
}

impl Generation {
    fn insert(&mut self, key: Key, run: Run) {
        self.bytes += run.bytes();
        self.runs.insert(key, run);
    }

    fn remove(&mut self, key: &Key) -> Option<Run> {
        let run = self.runs.remove(key)?;
        self.bytes -= run.bytes();
        Some(run)
    }

    /// The batch of that run, if it has what comes `from` there.
    fn get(&self, key: &Key, from: Seq) -> Option<&Batch> {
        let batch = self.runs.get(key).map(|run| &run.batch)?;
        (batch.begin().next <= from && from < batch.end().next).then_some(batch)
    }
}

#[derive(Debug)]
struct Run {
    topic: Arc<Topic>,
    batch: Batch,
}

impl Run {
    fn bytes(&self) -> usize {
        self.batch.held_bytes() + PLACE_BYTES
    }

    /// Takes in what the topic has for it by now, up to what is large. Says whether it is of use then: not with so few, nor
    /// where the topic has lost what comes next.
    fn extend(&mut self, read: &mut Vec<Arc<Publication>>) -> bool {
        let next = self.batch.end().next;
        let room = run_end(self.batch.begin().next).since(next) as usize;
        read.clear();
        if self.batch.size().0 + room < RUN_LEN_MIN
            || (room > 0 && self.topic.read(next, room, usize::MAX, read).is_err())
        {
            return false;
        }
        let is_small =
            |publication: &Arc<Publication>| publication.content.payload.as_bytes().len() <= SMALL_BYTES_MAX;
        read.truncate(read.iter().position(|publication| !is_small(publication)).unwrap_or(read.len()));
        if self.batch.size().0 + read.len() < RUN_LEN_MIN {
            return false;
        }
        if !read.is_empty() {
            self.batch.extend(&self.topic.name, read);
        }
        true
    }
}

impl Runs {
    /// Runs of which there are none yet, and that count against what is on its way.
    pub(crate) fn new(in_flight: &Arc<Budget>) -> Self {
        Self {
            newer: Generation::default(),
            older: Generation::default(),
            budget: Arc::clone(in_flight),
            charge: in_flight.charge(0),
            read: Vec::new(),
        }
    }

    /// The run of the topic that has what comes `from` there, if there is enough for one. Nothing of it was lost on the way,
    /// whatever the topic has lost meanwhile.
    pub(crate) fn get(&mut self, topic: &Arc<Topic>, encoding: Encoding, from: Cursor) -> Option<&Batch> {
        let key = (Arc::as_ptr(topic).addr(), encoding, from.next.get() / RUN_LEN);
        let has_whole =
            self.newer.get(&key, from.next).is_some_and(|batch| batch.end().next == run_end(from.next));
        if !has_whole {
            self.write(key, topic, encoding, from);
        }
        self.newer.get(&key, from.next)
    }

    /// Writes what that run has not yet; it is the newer generation's then.
    fn write(&mut self, key: Key, topic: &Arc<Topic>, encoding: Encoding, from: Cursor) {
        let found = self.newer.remove(&key).or_else(|| self.older.remove(&key));
        // Who asks for what comes before it has others come after it, too.
        let found = found.filter(|run| run.batch.begin().next <= from.next);
        let mut run =
            found.unwrap_or_else(|| Run { topic: Arc::clone(topic), batch: Batch::new(encoding, from) });
        if run.extend(&mut self.read) {
            if self.newer.bytes + run.bytes() > GENERATION_BYTES {
                self.age();
            }
            self.newer.insert(key, run);
        }
        self.charge.set(self.newer.bytes + self.older.bytes);
    }

    fn age(&mut self) {
        self.older = std::mem::take(&mut self.newer);
    }

    /// Whether there is room for them.
    pub(crate) fn are_welcome(&self) -> bool {
        self.budget.crowded() == 0
    }

    /// Gives back what nobody has asked for since the time before the last.
    pub(crate) fn tend(&mut self) {
        self.age();
        self.read = Vec::new();
        self.charge.set(self.older.bytes);
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        (self.newer, self.older, self.read) = Default::default();
        self.charge.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use fanfare_protocol::{Offset, Payload};

    use super::*;
    use crate::topic::ring::Seq;
    use crate::worker::Worker;
    use crate::worker::tests::{publish_payload, subscribe, worker};

    fn publish(worker: &Worker, topic: &Topic, count: u64) {
        for _ in 0..count {
            publish_payload(worker, topic, Payload::text("x"));
        }
    }

    /// Where somebody stands who wants what is `count` behind there.
    fn behind(from: Cursor, count: u64) -> Cursor {
        let after = Offset::new(from.after.get() + count);
        Cursor { next: Seq::new(from.next.get() + count), after }
    }

    #[test]
    fn whoever_catches_up_gets_what_is_written_once_and_it_grows_with_its_topic() {
        let worker = worker();
        let (topic, first) = subscribe(&worker, "t");
        let in_flight = Budget::new(usize::MAX);
        let mut runs = Runs::new(&in_flight);
        assert!(runs.get(&topic, Encoding::Json, first).is_none(), "there is nothing");
        assert_eq!(in_flight.used(), 0);

        publish(&worker, &topic, 10);
        let bytes = Rc::clone(&runs.get(&topic, Encoding::Json, first).expect("a run").bytes);
        let again = runs.get(&topic, Encoding::Json, behind(first, 4)).expect("a run");
        assert!(Rc::ptr_eq(&again.bytes, &bytes), "it was written once");
        assert_eq!((again.begin(), again.end()), (first, behind(first, 10)));
        assert!(runs.get(&topic, Encoding::Json, behind(first, 10)).is_none(), "nothing comes after it");
        assert!(in_flight.used() > bytes.len());

        publish(&worker, &topic, 200);
        let grown = runs.get(&topic, Encoding::Json, behind(first, 3)).expect("a run");
        assert!(grown.bytes.starts_with(&bytes) && grown.bytes.len() > bytes.len());
        assert!(bytes.len() < grown.bytes.len(), "who holds it keeps it as it was");

        // One run after the other: everything, in order and once; fewer than there must be are for no run.
        let (mut from, mut count) = (first, 0);
        while let Some(run) = runs.get(&topic, Encoding::Json, from) {
            assert_eq!(run.parts(from.next, None, |_| {}), run.end().next.since(from.next));
            count += run.parts(from.next, None, |_| {});
            assert!(run.size().0 as u64 <= RUN_LEN);
            from = run.end();
        }
        assert_eq!((count, from), (207, behind(first, 207)));
        assert!(runs.get(&topic, Encoding::MessagePack, first).is_some(), "each encoding has its own");
    }

    #[test]
    fn who_stands_before_a_run_has_it_written_from_there() {
        let worker = worker();
        let (topic, first) = subscribe(&worker, "t");
        publish(&worker, &topic, 20);
        let mut runs = Runs::new(&Budget::new(usize::MAX));
        assert_eq!(
            runs.get(&topic, Encoding::Raw, behind(first, 10)).map(Batch::begin),
            Some(behind(first, 10))
        );
        assert_eq!(runs.get(&topic, Encoding::Raw, first).map(Batch::begin), Some(first));
        assert_eq!(runs.get(&topic, Encoding::Raw, behind(first, 10)).map(Batch::begin), Some(first));
    }

    #[test]
    fn what_is_large_is_for_no_run_and_ends_one() {
        let worker = worker();
        let (topic, first) = subscribe(&worker, "t");
        let in_flight = Budget::new(usize::MAX);
        let mut runs = Runs::new(&in_flight);
        publish_payload(&worker, &topic, Payload::text("x".repeat(SMALL_BYTES_MAX + 1)));
        assert!(runs.get(&topic, Encoding::Json, first).is_none());
        assert_eq!(in_flight.used(), 0);
        publish(&worker, &topic, 5);
        publish_payload(&worker, &topic, Payload::text("x".repeat(SMALL_BYTES_MAX + 1)));
        publish(&worker, &topic, 5);
        let run = runs.get(&topic, Encoding::Json, behind(first, 1)).expect("a run");
        assert_eq!(run.end(), behind(first, 6));
        assert!(
            runs.get(&topic, Encoding::Json, behind(first, 6)).is_none(),
            "up to its end each writes for itself"
        );
        assert!(runs.get(&topic, Encoding::Json, behind(first, 1)).is_some(), "which costs others nothing");
    }

    #[test]
    fn runs_keep_no_publication_alive_are_charged_bounded_and_go_when_nobody_asks() {
        let worker = worker();
        let in_flight = Budget::new(4 * GENERATION_BYTES);
        let mut runs = Runs::new(&in_flight);
        for nth in 0..600 {
            let (topic, first) = subscribe(&worker, &format!("t{nth}"));
            for _ in 0..RUN_LEN_MIN {
                publish_payload(&worker, &topic, Payload::text("x".repeat(SMALL_BYTES_MAX)));
            }
            assert!(runs.get(&topic, Encoding::Json, first).is_some());
            let held = [&runs.newer, &runs.older].map(|it| it.runs.values().map(Run::bytes).sum::<usize>());
            assert_eq!(in_flight.used(), held[0] + held[1]);
            assert!(held.iter().all(|&bytes| bytes <= GENERATION_BYTES), "{held:?}");
            let mut read = Vec::new();
            topic.read(first.next, 1, usize::MAX, &mut read).expect("it is kept");
            assert_eq!(Arc::strong_count(&read[0]), 2, "the ring's, and this one");
        }
        runs.tend();
        assert!(in_flight.used() > 0, "somebody has asked");
        assert!(runs.are_welcome());
        let others = in_flight.charge(4 * GENERATION_BYTES);
        assert!(!runs.are_welcome());
        runs.tend();
        assert_eq!(in_flight.used(), others.bytes());
    }
}
