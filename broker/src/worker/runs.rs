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
use crate::topic::ring::Cursor;

/// Indices of a run: it ends before the next multiple.
const RUN_LEN: u64 = 64;
/// Bytes of frames after which a run takes no more.
const RUN_BYTES_MAX: usize = 16 * 1024;
/// A larger payload is not for a run: what there is to gain by it is nothing beside its copy into the socket.
const SMALL_BYTES_MAX: usize = 1024;
/// Bytes of all runs above which all of them go.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a publication takes in a run beside its frame.
const PLACE_BYTES: usize = size_of::<Arc<Publication>>() + size_of::<usize>();

/// The runs that were written lately for those who catch up. They go when a look at all connections passes in which nobody
/// asked for one, or where more is on its way than may be.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: HashMap<Key, Run>,
    /// What is on its way.
    budget: Arc<Budget>,
    /// Invariant: the bytes of `runs`.
    charge: Charge,
    is_used: bool,
    /// Publications on their way from the ring into a run.
    read: Vec<Arc<Publication>>,
}

/// The topic's address, which its run keeps from being given to another, the encoding, and the index by `RUN_LEN`.
type Key = (usize, Encoding, u64);

#[derive(Debug)]
struct Run {
    topic: Arc<Topic>,
    batch: Batch,
}

impl Run {
    fn bytes(&self) -> usize {
        self.batch.bytes.len() + self.batch.size().0 * PLACE_BYTES
    }

    /// Takes in what the topic has for it by now. Says whether it could: not where the topic has lost what comes next.
    fn extend(&mut self, read: &mut Vec<Arc<Publication>>) -> bool {
        let next = self.batch.end().next;
        let room = RUN_LEN - next.get() % RUN_LEN;
        let is_whole = next > self.batch.begin().next && room == RUN_LEN;
        if is_whole || self.batch.bytes.len() >= RUN_BYTES_MAX {
            return true;
        }
        read.clear();
        let is_there = self.topic.read(next, room as usize, RUN_BYTES_MAX, read).is_ok();
        let is_small =
            |publication: &Arc<Publication>| publication.content.payload.as_bytes().len() <= SMALL_BYTES_MAX;
        for publication in read.drain(..).take_while(is_small) {
            if self.batch.bytes.len() >= RUN_BYTES_MAX {
                break;
            }
            self.batch.push(&self.topic.name, publication);
        }
        is_there
    }
}

impl Runs {
    /// Runs of which there are none yet, and that count against what is on its way.
    pub(crate) fn new(in_flight: &Arc<Budget>) -> Self {
        let charge = in_flight.charge(0);
        Self { runs: HashMap::new(), budget: Arc::clone(in_flight), charge, is_used: false, read: Vec::new() }
    }

    /// The run of the topic that has what comes `from` there, if that is for a run. Nothing of it was lost, whatever
    /// the topic has lost meanwhile.
    pub(crate) fn get(&mut self, topic: &Arc<Topic>, encoding: Encoding, from: Cursor) -> Option<&Batch> {
        self.is_used = true;
        let key = (Arc::as_ptr(topic).addr(), encoding, from.next.get() / RUN_LEN);
        let found = self.runs.remove(&key);
        let before = found.as_ref().map_or(0, Run::bytes);
        // Who asks for what comes before it has others come after it, too.
        let found = found.filter(|run| run.batch.begin().next <= from.next);
        let mut run =
            found.unwrap_or_else(|| Run { topic: Arc::clone(topic), batch: Batch::new(encoding, from) });
        let is_of_use = run.extend(&mut self.read) && run.batch.size().0 > 0;
        let bytes = if is_of_use { run.bytes() } else { 0 };
        self.charge.set(self.charge.bytes() - before + bytes);
        if self.charge.bytes() > BYTES_MAX {
            self.runs.clear();
            self.charge.set(bytes);
        }
        if !is_of_use {
            return None;
        }
        let run = self.runs.entry(key).insert_entry(run).into_mut();
        (from.next < run.batch.end().next).then_some(&run.batch)
    }

    /// Whether there is room for them.
    pub(crate) fn are_welcome(&self) -> bool {
        !self.budget.is_over()
    }

    /// Gives everything back if nobody has asked since the last time, or others need the memory.
    pub(crate) fn tend(&mut self) {
        if !std::mem::take(&mut self.is_used) || self.budget.is_over() {
            (self.runs, self.read) = Default::default();
            self.charge.set(0);
        }
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
        assert_eq!(again.since(behind(first, 4).next).len(), 6);
        assert!(runs.get(&topic, Encoding::Json, behind(first, 10)).is_none(), "nothing comes after it");
        assert!(in_flight.used() > bytes.len());

        publish(&worker, &topic, 200);
        let grown = runs.get(&topic, Encoding::Json, behind(first, 3)).expect("a run");
        assert!(grown.bytes.starts_with(&bytes) && grown.bytes.len() > bytes.len());
        assert!(bytes.len() < grown.bytes.len(), "who holds it keeps it as it was");

        // One run after the other: everything, in order and once.
        let (mut from, mut publications) = (first, Vec::new());
        while let Some(run) = runs.get(&topic, Encoding::Json, from) {
            assert!(run.size().0 as u64 <= RUN_LEN);
            publications.extend(run.since(from.next).iter().map(|publication| publication.offset.get()));
            from = run.end();
        }
        assert_eq!(publications, (1..=210).collect::<Vec<_>>());
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
    fn what_is_large_is_for_no_run_and_a_run_holds_so_many_bytes() {
        let worker = worker();
        let (topic, first) = subscribe(&worker, "t");
        let in_flight = Budget::new(usize::MAX);
        let mut runs = Runs::new(&in_flight);
        publish_payload(&worker, &topic, Payload::text("x".repeat(SMALL_BYTES_MAX + 1)));
        assert!(runs.get(&topic, Encoding::Json, first).is_none());
        assert_eq!(in_flight.used(), 0);
        for _ in 0..40 {
            // Each character is written as six.
            publish_payload(&worker, &topic, Payload::text("\u{1}".repeat(SMALL_BYTES_MAX)));
        }
        let run = runs.get(&topic, Encoding::Json, behind(first, 1)).expect("a run");
        assert!((1..5).contains(&run.size().0) && run.bytes.len() < RUN_BYTES_MAX + 7 * SMALL_BYTES_MAX);
        let end = run.end();
        assert!(runs.get(&topic, Encoding::Json, end).is_none(), "what follows is written for each");
    }

    #[test]
    fn runs_are_charged_bounded_and_given_back_when_nobody_asks() {
        let worker = worker();
        let in_flight = Budget::new(2 * BYTES_MAX);
        let mut runs = Runs::new(&in_flight);
        for nth in 0..600 {
            let (topic, first) = subscribe(&worker, &format!("t{nth}"));
            for _ in 0..16 {
                publish_payload(&worker, &topic, Payload::text("x".repeat(SMALL_BYTES_MAX)));
            }
            let held = runs.get(&topic, Encoding::Json, first).expect("a run").bytes.len();
            assert!((held..=BYTES_MAX).contains(&in_flight.used()), "{}", in_flight.used());
            assert_eq!(in_flight.used(), runs.runs.values().map(Run::bytes).sum::<usize>());
        }
        runs.tend();
        assert!(in_flight.used() > 0, "somebody has asked");
        let others = in_flight.charge(2 * BYTES_MAX);
        assert!(!runs.are_welcome());
        drop(others);
        assert!(runs.are_welcome());
        runs.tend();
        assert_eq!(in_flight.used(), 0);
    }
}
