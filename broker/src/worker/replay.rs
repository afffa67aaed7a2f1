//! Frames that are kept for a moment because they are costly to write: those who come back together want the same.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_protocol::{PayloadKind, TopicName};

use crate::budget::{Budget, Charge};
use crate::encoding::Encoding;
use crate::topic::publication::Publication;

/// Bytes of frames above which all of them go. One that is larger is kept alone.
const BYTES_MAX: usize = 1024 * 1024;
/// A payload smaller than this is written as quickly as found.
const COSTLY_BYTES_MIN: usize = 1024;

/// The costly frames that were written lately for whoever catches up. They go when a look at all connections passes in
/// which nobody asked for one, or where more is on its way than may be.
#[derive(Debug)]
pub(crate) struct Replay {
    /// JSON frames by the publication's address, which its `Arc` keeps from being given to another.
    frames: HashMap<usize, (Arc<Publication>, Vec<u8>)>,
    /// What is on its way.
    budget: Arc<Budget>,
    /// Invariant: the bytes of `frames`.
    charge: Charge,
    is_used: bool,
}

impl Replay {
    /// One that keeps nothing yet, and counts what it keeps against what is on its way.
    pub(crate) fn new(in_flight: &Arc<Budget>) -> Self {
        let charge = in_flight.charge(0);
        Self { frames: HashMap::new(), budget: Arc::clone(in_flight), charge, is_used: false }
    }

    /// Appends the publication's frame.
    pub(crate) fn put_frame(
        &mut self,
        publication: &Arc<Publication>,
        topic: &TopicName,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) {
        let payload = &publication.content.payload;
        // JSON has these escaped or in base64; everything else is copied.
        let is_written_anew = encoding == Encoding::Json && payload.kind() != PayloadKind::Json;
        if !is_written_anew || payload.as_bytes().len() < COSTLY_BYTES_MIN {
            publication.put_frame(topic.into(), encoding, out);
            return;
        }
        self.is_used = true;
        let key = Arc::as_ptr(publication).addr();
        if let Some((_, frame)) = self.frames.get(&key) {
            out.extend_from_slice(frame);
            return;
        }
        let before = out.len();
        publication.put_frame(topic.into(), encoding, out);
        self.keep(key, publication, &out[before..]);
    }

    fn keep(&mut self, key: usize, publication: &Arc<Publication>, frame: &[u8]) {
        if self.charge.bytes() + frame.len() > BYTES_MAX {
            self.clear();
        }
        if self.budget.crowded() == 0 {
            self.charge.grow(frame.len());
            self.frames.insert(key, (Arc::clone(publication), frame.to_vec()));
        }
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        self.frames = HashMap::new();
        self.charge.set(0);
    }

    /// Gives everything back if nobody has asked since the last time, or others need the memory.
    pub(crate) fn tend(&mut self) {
        if !std::mem::take(&mut self.is_used) || self.budget.is_over() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::Payload;

    use super::*;
    use crate::bench::publications;

    #[test]
    fn what_is_kept_is_what_would_be_written_and_goes_when_nobody_asks() {
        let topic: TopicName = "t".parse().expect("a name");
        let publications = publications(100, &Payload::binary(vec![7; 20_000]));
        let in_flight = Budget::new(2 * BYTES_MAX);
        let mut replay = Replay::new(&in_flight);
        for publication in publications.iter().chain(&publications).chain(&publications[99..]) {
            let (mut found, mut written) = (Vec::new(), Vec::new());
            replay.put_frame(publication, &topic, Encoding::Json, &mut found);
            publication.put_frame((&topic).into(), Encoding::Json, &mut written);
            assert_eq!(found, written);
            assert!(in_flight.used() > 0 && in_flight.used() <= BYTES_MAX);
        }
        assert!(Arc::strong_count(&publications[99]) > 1);
        replay.tend();
        assert!(in_flight.used() > 0, "somebody has asked");
        replay.tend();
        assert_eq!(in_flight.used(), 0);
        assert!(publications.iter().all(|publication| Arc::strong_count(publication) == 1));
    }

    #[test]
    fn what_is_kept_counts_as_on_its_way_and_goes_where_that_is_too_much() {
        let topic: TopicName = "t".parse().expect("a name");
        let publications = publications(2, &Payload::binary(vec![7; BYTES_MAX]));
        let in_flight = Budget::new(2 * BYTES_MAX);
        let mut replay = Replay::new(&in_flight);
        let mut frame = Vec::new();
        for publication in &publications {
            frame.clear();
            replay.put_frame(publication, &topic, Encoding::Json, &mut frame);
            assert_eq!(in_flight.used(), frame.len(), "one that is larger than all may be is kept alone");
        }
        let others = in_flight.charge(BYTES_MAX);
        replay.tend();
        assert_eq!(in_flight.used(), others.bytes());
        let _more = in_flight.charge(2 * BYTES_MAX);
        let before = in_flight.used();
        replay.put_frame(&publications[0], &topic, Encoding::Json, &mut frame);
        assert_eq!(in_flight.used(), before, "nothing more is kept");
    }
}
