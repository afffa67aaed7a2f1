//! The subscribers of one topic on one worker that share one encoding and are in step.
//! [hot; life of a publication: steps 5 and 6]

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::{Offset, TopicName};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::encoding::Encoding;
use crate::ids::ConnectionId;
use crate::topic::Topic;
use crate::topic::publication::Publication;
use crate::topic::ring::{Cursor, Seq};

/// What a worker keeps of a topic that its connections subscribe to.
#[derive(Debug)]
pub(crate) struct LocalTopic {
    /// Keeps the address, by which this is found, from another topic.
    topic: Arc<Topic>,
    /// Subscriptions of this worker's connections, in step or behind.
    pub(crate) subscriptions: usize,
    /// How many of them are behind and take what they get.
    pub(crate) awaited: usize,
    pub(crate) groups: [Group; Encoding::ALL.len()],
    /// Its next walk begins no sooner: what is published meanwhile gathers.
    pub(crate) not_before: Option<Instant>,
}

impl LocalTopic {
    pub(crate) fn new(topic: Arc<Topic>) -> Self {
        Self { topic, subscriptions: 0, awaited: 0, groups: Default::default(), not_before: None }
    }

    /// Whether its subscribers are few, and lie together.
    pub(crate) fn is_small(&self) -> bool {
        self.topic.is_small()
    }

    /// Counts a subscription that is behind and takes what it gets, from now on or no longer; the topic keeps more
    /// while there is one.
    pub(crate) fn count_awaited(&mut self, worker: usize, is_awaited: bool) {
        let before = self.awaited;
        if is_awaited {
            self.awaited += 1;
        } else {
            self.awaited -= 1;
        }
        if (before == 0) != (self.awaited == 0) {
            self.topic.await_more(worker, self.awaited > 0);
        }
    }
}

/// Subscribers in step: one batch a round serves them all.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: Vec<Member>,
}

impl Group {
    /// Where the member stands that has the least.
    pub(crate) fn first_wanted(&self) -> Option<Cursor> {
        self.members.iter().map(|member| member.from).min_by_key(|from| from.next)
    }
}

/// A subscriber in step.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) connection: Rc<Connection>,
    /// The subscription's key in its connection: there are never as many as 32 bits count.
    key: u32,
    /// What it has yet to get.
    pub(crate) from: Cursor,
    pub(crate) echo: bool,
}

impl Member {
    /// The subscription of that key, from there on.
    pub(crate) fn new(connection: &Rc<Connection>, key: usize, from: Cursor, echo: bool) -> Self {
        Self { connection: Rc::clone(connection), key: key as u32, from, echo }
    }

    /// The subscription's key in its connection.
    pub(crate) fn key(&self) -> usize {
        self.key as usize
    }
}

/// The frames of one round for one group, one after the other. It grows while the round goes on.
#[derive(Debug)]
pub(crate) struct Batch {
    encoding: Encoding,
    /// Where its first publication stands.
    begin: Cursor,
    pub(crate) bytes: Rc<Vec<u8>>,
    frames: Vec<Frame>,
    /// When the first publication was received.
    oldest: Option<Instant>,
    payload_bytes: usize,
}

/// What a batch knows of a publication whose frame it has: the publication itself may go.
#[derive(Debug)]
struct Frame {
    /// Where it ends.
    end: usize,
    offset: Offset,
    origin: Option<ConnectionId>,
}

impl Batch {
    /// An empty batch that begins there.
    pub(crate) fn new(encoding: Encoding, begin: Cursor) -> Self {
        Self { encoding, begin, bytes: Rc::default(), frames: Vec::new(), oldest: None, payload_bytes: 0 }
    }

    /// How many publications, and their payloads' bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.frames.len(), self.payload_bytes)
    }

    /// Bytes that it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.frames.capacity() * size_of::<Frame>()
    }

    /// Where its first publication stands.
    pub(crate) fn begin(&self) -> Cursor {
        self.begin
    }

    /// Where somebody stands who has the first `count` of its publications.
    fn cursor(&self, count: usize) -> Cursor {
        match count.checked_sub(1) {
            None => self.begin,
            Some(last) => {
                let after = self.frames[last].offset;
                Cursor { next: self.begin.next.plus(count), after }
            }
        }
    }

    /// Where somebody stands who has all of it.
    pub(crate) fn end(&self) -> Cursor {
        self.cursor(self.frames.len())
    }

    /// When its first publication was received.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// Appends publications of the topic of that name that follow its last one. Who holds its bytes keeps them as they were.
    pub(crate) fn extend(&mut self, topic: &TopicName, publications: &mut Vec<Arc<Publication>>) {
        let bytes = Rc::make_mut(&mut self.bytes);
        bytes.reserve(publications.iter().map(|publication| publication.frame_len(self.encoding)).sum());
        if self.oldest.is_none() {
            let first = publications.first();
            self.oldest = first.map(|first| Instant::from_std(first.content.received.instant()));
        }
        for publication in publications.drain(..) {
            publication.put_frame(topic.into(), self.encoding, bytes);
            let (end, origin) = (bytes.len(), publication.content.origin);
            self.frames.push(Frame { end, offset: publication.offset, origin });
            self.payload_bytes += publication.content.payload.as_bytes().len();
        }
    }

    /// Hands `take` the parts of the batch that a subscriber gets who wants what is `from` that index on, which
    /// is at least where the batch begins, and not by the connection `not_by`. Most get one part. Returns how
    /// many publications that were.
    pub(crate) fn parts(
        &self,
        from: Seq,
        not_by: Option<ConnectionId>,
        mut take: impl FnMut(Range<usize>),
    ) -> u64 {
        let skipped = (from.since(self.begin.next) as usize).min(self.frames.len());
        let mut start = skipped.checked_sub(1).map_or(0, |before| self.frames[before].end);
        let wanted = &self.frames[skipped..];
        if wanted.is_empty() {
            return 0;
        }
        let Some(not_by) = not_by else {
            take(start..self.bytes.len());
            return wanted.len() as u64;
        };
        let (mut end, mut count) = (start, 0);
        for frame in wanted {
            if frame.origin == Some(not_by) {
                if end > start {
                    take(start..end);
                }
                start = frame.end;
            } else {
                count += 1;
            }
            end = frame.end;
        }
        if end > start {
            take(start..end);
        }
        count
    }

    /// Where the frame lies that the byte before `end` belongs to, and where somebody stands who has it.
    pub(crate) fn frame_before(&self, end: usize) -> (Range<usize>, Cursor) {
        let nth = self.frames.partition_point(|frame| frame.end < end);
        let start = nth.checked_sub(1).map_or(0, |before| self.frames[before].end);
        (start..self.frames[nth].end, self.cursor(nth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::clock::Moment;
    use crate::topic::publication::Unpositioned;
    use fanfare_protocol::Payload;

    /// Publications at these offsets; `origin` made the even ones.
    fn publications(offsets: std::ops::RangeInclusive<u64>, origin: ConnectionId) -> Vec<Arc<Publication>> {
        let budget = Budget::new(usize::MAX);
        let publication = |offset: u64| {
            let content = Unpositioned {
                payload: Payload::text("x".repeat(offset as usize)),
                message_id: None,
                headers: None,
                user: None,
                origin: offset.is_multiple_of(2).then_some(origin),
                received: Moment::of(std::time::Instant::now()),
            };
            Arc::new(Publication::new(Offset::new(offset), 0, content, &budget))
        };
        offsets.map(publication).collect()
    }

    fn extend(batch: &mut Batch, mut publications: Vec<Arc<Publication>>) {
        batch.extend(&"a".parse().expect("a name"), &mut publications);
    }

    /// An empty batch whose indices are its offsets.
    fn batch_from(first: u64) -> Batch {
        let begin = Cursor { next: Seq::new(first), after: Offset::new(first - 1) };
        Batch::new(Encoding::Raw, begin)
    }

    /// The sizes of the payloads that a subscriber gets, which are their offsets.
    fn offered(batch: &Batch, from: u64, not_by: Option<ConnectionId>) -> Vec<u64> {
        let mut bytes = Vec::new();
        let count = batch.parts(Seq::new(from), not_by, |part| bytes.extend_from_slice(&batch.bytes[part]));
        let (mut rest, mut sizes) = (&bytes[..], Vec::new());
        while let [_, size, ..] = rest {
            sizes.push(u64::from(*size));
            rest = &rest[2 + usize::from(*size)..];
        }
        assert_eq!(sizes.len() as u64, count);
        sizes
    }

    #[test]
    fn each_subscriber_gets_what_it_wants_of_a_batch() {
        let origin = ConnectionId::new(1);
        let mut batch = batch_from(5);
        extend(&mut batch, publications(5..=9, origin));
        assert_eq!(offered(&batch, 5, None), [5, 6, 7, 8, 9]);
        assert_eq!(offered(&batch, 8, None), [8, 9]);
        assert_eq!(offered(&batch, 10, None), [0; 0]);
        assert_eq!(offered(&batch, 5, Some(origin)), [5, 7, 9]);
        assert_eq!(offered(&batch, 6, Some(origin)), [7, 9]);
        extend(&mut batch, publications(10..=11, origin));
        assert_eq!(offered(&batch, 9, None), [9, 10, 11], "it grows");
    }

    #[test]
    fn who_holds_a_batch_keeps_it_while_it_grows() {
        let mut batch = batch_from(1);
        extend(&mut batch, publications(1..=1, ConnectionId::new(1)));
        let held = Rc::clone(&batch.bytes);
        let before = held.to_vec();
        extend(&mut batch, publications(2..=2, ConnectionId::new(1)));
        assert_eq!(*held, before);
        assert!(batch.bytes.starts_with(&before));
    }

    #[test]
    fn every_byte_belongs_to_a_frame() {
        let mut batch = batch_from(1);
        extend(&mut batch, publications(1..=3, ConnectionId::new(1)));
        let frames = [(1..=3, 0..3, 2), (4..=7, 3..7, 3), (8..=12, 7..12, 4)];
        for (ends, frame, next) in frames {
            let cursor = Cursor { next: Seq::new(next), after: Offset::new(next - 1) };
            for end in ends {
                assert_eq!(batch.frame_before(end), (frame.clone(), cursor), "{end}");
            }
        }
    }
}
