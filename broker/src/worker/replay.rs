//! Frames that are kept for a moment because they are costly to write: those who come back together want the same.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_protocol::{PayloadKind, TopicName};

use crate::encoding::Encoding;
use crate::topic::publication::Publication;

/// Bytes of frames above which all of them go.
const BYTES_MAX: usize = 1024 * 1024;
/// A payload smaller than this is written as quickly as found.
const COSTLY_BYTES_MIN: usize = 1024;

/// The costly frames that were written lately for whoever catches up. They go when a look at all connections passes in
/// which nobody asked for one.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// By the publication's address, which its `Arc` keeps from being given to another.
    frames: HashMap<(usize, Encoding), (Arc<Publication>, Vec<u8>)>,
    /// Invariant: at least the bytes of `frames`.
    bytes: usize,
    is_used: bool,
}

impl Replay {
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
        let key = (Arc::as_ptr(publication).addr(), encoding);
        if let Some((_, frame)) = self.frames.get(&key) {
            out.extend_from_slice(frame);
            return;
        }
        let before = out.len();
        publication.put_frame(topic.into(), encoding, out);
        let frame = out[before..].to_vec();
        if self.bytes + frame.len() > BYTES_MAX {
            *self = Self { is_used: true, ..Self::default() };
        }
        self.bytes += frame.len();
        self.frames.insert(key, (Arc::clone(publication), frame));
    }

    /// Gives everything back if nobody has asked since the last time.
    pub(crate) fn tend(&mut self) {
        if !std::mem::take(&mut self.is_used) && self.bytes > 0 {
            *self = Self::default();
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
        let mut replay = Replay::default();
        for publication in publications.iter().chain(&publications).chain(&publications[99..]) {
            let (mut found, mut written) = (Vec::new(), Vec::new());
            replay.put_frame(publication, &topic, Encoding::Json, &mut found);
            publication.put_frame((&topic).into(), Encoding::Json, &mut written);
            assert_eq!(found, written);
            assert!(replay.bytes > 0 && replay.bytes <= BYTES_MAX);
        }
        assert!(Arc::strong_count(&publications[99]) > 1);
        replay.tend();
        assert!(replay.bytes > 0, "somebody has asked");
        replay.tend();
        assert!(publications.iter().all(|publication| Arc::strong_count(publication) == 1));
    }
}
