//! The subscribers of one topic on one worker that share one encoding and are in step.
//! [hot; life of a publication: steps 5 and 6]

use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::Offset;

use crate::connection::{Connection, ConnectionId};
use crate::topic::Topic;
use crate::topic::publication::{Encoding, Publication};

/// What a worker keeps of a topic that its connections subscribe to.
#[derive(Debug)]
pub(crate) struct LocalTopic {
    #[expect(dead_code, reason = "keeps the address, by which this is found, from another topic")]
    topic: Arc<Topic>,
    /// Subscriptions of this worker's connections, in step or behind.
    pub(crate) subscriptions: usize,
    pub(crate) groups: [Group; Encoding::ALL.len()],
}

impl LocalTopic {
    pub(crate) fn new(topic: Arc<Topic>) -> Self {
        Self { topic, subscriptions: 0, groups: Default::default() }
    }
}

/// Subscribers in step: one cursor and one batch a round serve them all.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The offset that the next round begins with. Means nothing while there are no members.
    pub(crate) next: Offset,
    pub(crate) members: Vec<Member>,
}

/// A subscriber in step.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) connection: Rc<Connection>,
    /// The subscription's key in its connection.
    pub(crate) key: usize,
    /// The first offset it wants: it may have joined ahead of the group.
    pub(crate) from: Offset,
    pub(crate) echo: bool,
}

/// The frames of one round for one group, one after the other.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Rc<Vec<u8>>,
    /// Each publication's offset and where its frame ends.
    ends: Vec<(Offset, usize)>,
}

impl Batch {
    /// The publications' frames, in order.
    pub(crate) fn new(publications: &[Arc<Publication>], encoding: Encoding) -> Self {
        let mut ends = Vec::with_capacity(publications.len());
        let size = publications.iter().map(|publication| publication.frame(encoding).len()).sum();
        let mut bytes = Vec::with_capacity(size);
        for publication in publications {
            bytes.extend_from_slice(publication.frame(encoding));
            ends.push((publication.offset, bytes.len()));
        }
        Self { bytes: Rc::new(bytes), ends }
    }

    /// Hands `take` the parts of the batch that a subscriber gets who wants what is `from` that offset
    /// on and not by the connection `not_by`. Most get the whole batch in one
    /// part. Returns how many publications that were.
    pub(crate) fn parts(
        &self,
        publications: &[Arc<Publication>],
        from: Offset,
        not_by: Option<ConnectionId>,
        mut take: impl FnMut(usize, usize),
    ) -> u64 {
        if not_by.is_none() && self.ends.first().is_some_and(|&(first, _)| from <= first) {
            take(0, self.bytes.len());
            return self.ends.len() as u64;
        }
        let (mut start, mut end, mut count) = (0, 0, 0);
        for (publication, &(offset, frame_end)) in publications.iter().zip(&self.ends) {
            let is_own = not_by.is_some() && publication.content.origin == not_by;
            if offset < from || is_own {
                if end > start {
                    take(start, end);
                }
                start = frame_end;
            } else {
                count += 1;
            }
            end = frame_end;
        }
        if end > start {
            take(start, end);
        }
        count
    }
}
