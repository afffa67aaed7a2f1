//! What waits to be written to one socket. Pure. [hot; life of a publication: step 6]

mod chunk;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::iter;
use std::rc::Rc;

use chunk::{Bytes, Chunk};

/// Pieces that are written with one call, at most.
pub(crate) const SLICES_MAX: usize = 16;
/// Bytes of a connection's own frames after which they begin a new piece: what is written of one is freed with it.
const OWN_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a piece of its own frames begins with: room for the replies to a few frames that came together.
const OWN_BYTES_BEGIN: usize = 512;
/// Bytes of control frames that may wait: a peer that pings on without reading gets no more pongs.
const CONTROL_BYTES_MAX: usize = 4 * 1024;

/// What waits to be written of a connection that moves: nothing of it is shared.
#[derive(Debug)]
pub(crate) struct Unwritten(Vec<Chunk<Vec<u8>>>);

/// What waits to be written, in order. Empty, it holds no memory but a pointer.
///
/// It is bounded by those who fill it: deliveries stop when the socket does not take them, and reading
/// stops while many replies wait.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Option<Box<Queue>>);

#[derive(Debug)]
struct Queue {
    front: Chunk,
    rest: VecDeque<Chunk>,
    /// Invariant: the unwritten bytes of all chunks.
    len: usize,
}

impl Queue {
    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        iter::once(&self.front).chain(&self.rest)
    }

    /// The control frames that wait: they are first, or second behind a frame that was begun.
    fn control_mut(&mut self) -> Option<&mut Chunk> {
        iter::once(&mut self.front).chain(self.rest.front_mut()).find(|chunk| chunk.is_control)
    }

    /// The buffer to which further frames of the connection's own may be appended, and where it ends.
    fn appendable(&mut self) -> Option<(&mut Vec<u8>, &mut usize)> {
        match self.rest.back_mut().unwrap_or(&mut self.front) {
            Chunk { bytes: Bytes::Own(bytes), end, is_control: false, .. } if *end < OWN_BYTES_MAX => {
                Some((bytes, end))
            }
            _ => None,
        }
    }

    /// Puts control frames before all that waits but a frame that was begun.
    fn push_control(&mut self, control: Chunk) {
        self.len += control.unwritten_len();
        match self.front.begun_frame_end() {
            None => {
                let front = std::mem::replace(&mut self.front, control);
                self.rest.push_front(front);
            }
            Some(begun_end) => {
                // Only shared chunks and replies hold several frames.
                if let Some(tail) = self.front.split_off(begun_end) {
                    self.rest.push_front(tail);
                }
                self.rest.push_front(control);
            }
        }
    }
}

impl Outbox {
    /// Bytes that wait to be written.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that it keeps for what waits. What others get too counts as far as it waits here.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |chunk: &Chunk| match &chunk.bytes {
            Bytes::Own(bytes) => bytes.capacity(),
            Bytes::Shared(_) => chunk.unwritten_len(),
        };
        self.0.as_ref().map_or(0, |queue| queue.chunks().map(held).sum())
    }

    /// What others get too is copied as far as it waits: whoever does not read keeps nothing else alive.
    pub(crate) fn disown(&mut self) {
        let shared = |chunk: &Chunk| matches!(chunk.bytes, Bytes::Shared(_));
        if !self.0.iter().any(|queue| queue.chunks().any(shared)) {
            return;
        }
        *self = Self::of(std::mem::take(self).into_unwritten());
    }

    /// Appends whole frames that others get too.
    pub(crate) fn push_shared(&mut self, bytes: &Rc<Vec<u8>>, start: usize, end: usize) {
        self.push(Chunk::new(Bytes::Shared(Rc::clone(bytes)), start, end));
    }

    /// Appends whole frames that `write` writes, or nothing.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(queue) = &mut self.0
            && let Some((bytes, end)) = queue.appendable()
        {
            write(bytes);
            let more = bytes.len() - *end;
            *end = bytes.len();
            queue.len += more;
            return;
        }
        let mut bytes = Vec::with_capacity(OWN_BYTES_BEGIN);
        write(&mut bytes);
        if bytes.is_empty() {
            return;
        }
        if bytes.capacity() > 2 * OWN_BYTES_MAX {
            // A large reply may wait for long.
            bytes.shrink_to_fit();
        }
        self.push(Chunk::own(bytes));
    }

    /// Appends what is left of one frame, of which so many bytes are written already. Only for an empty
    /// outbox: nothing may come between the two parts.
    pub(crate) fn push_begun(&mut self, frame: &[u8], written: usize) {
        debug_assert!(self.is_empty(), "a frame was begun behind another one");
        self.push(Chunk { start: written, ..Chunk::own(frame.to_vec()) });
    }

    /// What waits, on its own: what others get too is copied as far as it waits.
    pub(crate) fn into_unwritten(self) -> Unwritten {
        let chunks = self.0.into_iter().flat_map(|queue| iter::once(queue.front).chain(queue.rest));
        Unwritten(chunks.map(Chunk::disowned).collect())
    }

    /// An outbox in which that waits.
    pub(crate) fn of(unwritten: Unwritten) -> Self {
        let mut this = Self::default();
        unwritten.0.into_iter().for_each(|chunk| this.push(chunk.into()));
        this
    }

    fn push(&mut self, chunk: Chunk) {
        let len = chunk.unwritten_len();
        match &mut self.0 {
            None => self.0 = Some(Box::new(Queue { front: chunk, rest: VecDeque::new(), len })),
            Some(queue) => {
                queue.len += len;
                queue.rest.push_back(chunk);
            }
        }
    }

    /// Puts a control frame before all data but a frame that was begun, and after other control frames.
    pub(crate) fn push_control(&mut self, frame: &[u8]) {
        let Some(queue) = &mut self.0 else {
            return self.push(Chunk { is_control: true, ..Chunk::own(frame.to_vec()) });
        };
        if let Some(Chunk { bytes: Bytes::Own(bytes), end, .. }) = queue.control_mut() {
            bytes.extend_from_slice(frame);
            *end = bytes.len();
            queue.len += frame.len();
        } else {
            queue.push_control(Chunk { is_control: true, ..Chunk::own(frame.to_vec()) });
        }
    }

    /// Whether more than enough control frames wait, so that further pongs may be left out.
    pub(crate) fn is_full_of_control(&mut self) -> bool {
        let control = self.0.as_mut().and_then(|queue| queue.control_mut());
        control.is_some_and(|control| control.unwritten_len() > CONTROL_BYTES_MAX)
    }

    /// Forgets everything but a frame that was begun.
    pub(crate) fn discard(&mut self) {
        let Some(Queue { mut front, .. }) = self.0.take().map(|queue| *queue) else { return };
        if let Some(end) = front.begun_frame_end() {
            front.truncate(end);
            self.push(front);
        }
    }

    /// The next pieces to write; returns how many of `slices` are filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut count = 0;
        let chunks = self.0.iter().flat_map(|queue| queue.chunks());
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk.unwritten());
            count += 1;
        }
        count
    }

    /// Takes note that so many bytes were written, and frees the pieces that are written out.
    pub(crate) fn advance(&mut self, mut count: usize) {
        let Some(queue) = &mut self.0 else { return debug_assert_eq!(count, 0, "nothing waited") };
        queue.len -= count;
        loop {
            let unwritten = queue.front.unwritten_len();
            if count < unwritten {
                if count > 0 {
                    queue.front.advance(count);
                }
                return;
            }
            count -= unwritten;
            match queue.rest.pop_front() {
                Some(next) => queue.front = next,
                None => break,
            }
        }
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame_length;
    use crate::websocket::{Outgoing, put_frame};
    use proptest::prelude::*;

    fn frame(kind: Outgoing, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&mut out, kind, payload);
        out
    }

    fn write(outbox: &mut Outbox, count: usize, written: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = outbox.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
        let count = count.min(bytes.len());
        written.extend_from_slice(&bytes[..count]);
        outbox.advance(count);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Begun(usize, usize),
        Control,
        Own(usize),
        Discard,
        Disown,
        Move,
        Shared(usize, usize),
        Write(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            1 => (0..200usize, 1..200usize).prop_map(|(size, written)| Op::Begun(size, written)),
            1 => Just(Op::Control),
            1 => Just(Op::Discard),
            1 => Just(Op::Disown),
            1 => Just(Op::Move),
            2 => (0..300usize).prop_map(Op::Own),
            2 => (1..4usize, 0..200usize).prop_map(|(count, size)| Op::Shared(count, size)),
            4 => (0..400usize).prop_map(Op::Write),
        ]
    }

    proptest! {
        /// Every frame carries a number: data frames come in order, control frames as early as may be,
        /// no frame is cut by another, and none is missing where nothing was discarded.
        #[test]
        fn frames_leave_whole_and_in_order(ops in proptest::collection::vec(op(), 0..60)) {
            let (mut outbox, mut written) = (Outbox::default(), Vec::new());
            let (mut data, mut control, mut discarded) = (0u32, 0u32, false);
            let numbered = |kind, number: &mut u32, size: usize| {
                *number += 1;
                let mut payload = number.to_be_bytes().to_vec();
                payload.resize(4 + size, 0);
                frame(kind, &payload)
            };
            for op in ops {
                match op {
                    Op::Begun(size, count) => {
                        // Without an outbox a frame is written directly, and this is how far it got.
                        if !outbox.is_empty() { continue; }
                        let frame = numbered(Outgoing::Text, &mut data, size);
                        let count = count.min(frame.len() - 1);
                        written.extend_from_slice(&frame[..count]);
                        outbox.push_begun(&frame, count);
                    }
                    Op::Control => { outbox.push_control(&numbered(Outgoing::Ping, &mut control, 0)); }
                    Op::Discard => {
                        outbox.discard();
                        discarded = true;
                        let left = outbox.0.as_ref().map(|queue| (queue.front.begun_frame_end(), queue.rest.len()));
                        let ends = outbox.0.as_ref().map(|queue| (Some(queue.front.end), 0));
                        prop_assert_eq!(left, ends, "nothing is left but a frame that was begun");
                    }
                    Op::Disown => outbox.disown(),
                    Op::Move => {
                        let len = outbox.len();
                        outbox = Outbox::of(outbox.into_unwritten());
                        prop_assert_eq!(outbox.len(), len);
                    }
                    Op::Own(size) => {
                        let frame = numbered(Outgoing::Text, &mut data, size);
                        outbox.push_with(|out| out.extend_from_slice(&frame));
                    }
                    Op::Shared(count, size) => {
                        let mut all = b"skipped".to_vec();
                        for _ in 0..count { all.extend(numbered(Outgoing::Text, &mut data, size)); }
                        let end = all.len();
                        outbox.push_shared(&Rc::new(all), 7, end);
                    }
                    Op::Write(count) => write(&mut outbox, count, &mut written),
                }
            }
            while !outbox.is_empty() { write(&mut outbox, 1000, &mut written); }
            let (mut rest, mut next_data) = (&written[..], 1);
            let mut controls = Vec::new();
            while !rest.is_empty() {
                let length = frame_length(rest);
                let header = if length < 128 { 2 } else { 4 };
                let number = u32::from_be_bytes(rest[header..header + 4].try_into().unwrap());
                if rest[0] == Outgoing::Ping as u8 {
                    controls.push(number);
                } else {
                    prop_assert!(number == next_data || discarded && number > next_data);
                    next_data = number + 1;
                }
                rest = &rest[length..];
            }
            if discarded {
                prop_assert!(controls.is_sorted());
            } else {
                prop_assert_eq!(next_data, data + 1);
                prop_assert_eq!(controls, (1..=control).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_written_is_freed_although_something_always_waits() {
        let mut outbox = Outbox::default();
        for _ in 0..100_000 {
            outbox.push_with(|out| put_frame(out, Outgoing::Text, b"reply"));
            if outbox.len() > 1000 {
                outbox.advance(7);
            }
        }
        let held: usize =
            outbox.0.iter().flat_map(|queue| queue.chunks()).map(|chunk| chunk.all().len()).sum();
        assert!(held < 3 * OWN_BYTES_MAX, "{held} bytes for {} that wait", outbox.len());
    }

    #[test]
    fn whoever_does_not_read_keeps_nothing_alive_that_others_share() {
        let (mut outbox, mut written) = (Outbox::default(), Vec::new());
        let shared = Rc::new([frame(Outgoing::Text, b"first"), frame(Outgoing::Text, b"second")].concat());
        outbox.push_shared(&shared, 0, shared.len());
        assert_eq!(outbox.held_bytes(), outbox.len(), "it counts as far as it waits here");
        write(&mut outbox, 3, &mut written);
        outbox.disown();
        assert_eq!(Rc::strong_count(&shared), 1);
        assert!(outbox.held_bytes() >= outbox.len());
        write(&mut outbox, usize::MAX, &mut written);
        assert_eq!(written, *shared);
        assert_eq!(outbox.held_bytes(), 0, "empty, it holds no memory");
    }

    #[test]
    fn replies_do_not_count_as_control_frames() {
        let mut outbox = Outbox::default();
        outbox.push_control(&frame(Outgoing::Ping, b""));
        for _ in 0..1000 {
            outbox.push_with(|out| put_frame(out, Outgoing::Text, b"reply"));
        }
        assert!(!outbox.is_full_of_control());
        outbox.push_control(&frame(Outgoing::Pong, b"!"));
        let mut written = Vec::new();
        write(&mut outbox, 5, &mut written);
        assert_eq!(written, [frame(Outgoing::Ping, b""), frame(Outgoing::Pong, b"!")].concat());
    }

    #[test]
    fn a_discarded_outbox_still_ends_the_frame_it_began() {
        let mut outbox = Outbox::default();
        let first = frame(Outgoing::Text, b"first");
        let second = frame(Outgoing::Text, b"second");
        outbox.push_shared(&Rc::new([first.clone(), second].concat()), 0, first.len() + 8);
        let mut written = Vec::new();
        write(&mut outbox, 3, &mut written);
        outbox.discard();
        write(&mut outbox, 1000, &mut written);
        assert_eq!(written, first);
        assert!(outbox.is_empty());
    }
}
