//! A piece of what waits to be written. Pure.

use std::rc::Rc;

use crate::websocket::frame_length;

/// Whole WebSocket frames, shared with other connections or this one's own.
#[derive(Debug)]
pub(super) struct Chunk<B = Bytes> {
    pub(super) bytes: B,
    /// The end of what is written of it, in bytes from the begin.
    pub(super) start: usize,
    /// The end of what is to be written of it.
    pub(super) end: usize,
    /// Invariant: a frame begins here, and `start` is inside that frame or at its begin.
    pub(super) frame: usize,
    /// Whether it holds control frames alone, which went ahead of data.
    pub(super) is_control: bool,
}

#[derive(Debug)]
pub(super) enum Bytes {
    Own(Vec<u8>),
    Shared(Rc<Vec<u8>>),
}

impl Chunk {
    pub(super) fn new(bytes: Bytes, start: usize, end: usize) -> Self {
        Self { bytes, start, end, frame: start, is_control: false }
    }

    /// A chunk of these frames alone.
    pub(super) fn own(frames: Vec<u8>) -> Self {
        let end = frames.len();
        Self::new(Bytes::Own(frames), 0, end)
    }

    pub(super) fn all(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }

    pub(super) fn unwritten(&self) -> &[u8] {
        &self.all()[self.start..self.end]
    }

    pub(super) fn unwritten_len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.start += count;
        while self.frame < self.start {
            let next = self.frame + frame_length(&self.all()[self.frame..]);
            if next > self.start {
                break;
            }
            self.frame = next;
        }
    }

    /// Where the frame ends that was begun and is not written out; `None` at a boundary.
    pub(super) fn begun_frame_end(&self) -> Option<usize> {
        (self.start > self.frame).then(|| self.frame + frame_length(&self.all()[self.frame..]))
    }

    /// Leaves out what lies behind `end`.
    pub(super) fn truncate(&mut self, end: usize) {
        self.end = end;
        if let Bytes::Own(bytes) = &mut self.bytes {
            bytes.truncate(end);
        }
    }

    /// Cuts off what lies behind a boundary between two frames, where there is anything.
    pub(super) fn split_off(&mut self, boundary: usize) -> Option<Self> {
        if boundary == self.end {
            return None;
        }
        let tail = match &self.bytes {
            Bytes::Shared(bytes) => Self::new(Bytes::Shared(Rc::clone(bytes)), boundary, self.end),
            Bytes::Own(bytes) => Self::own(bytes[boundary..self.end].to_vec()),
        };
        self.truncate(boundary);
        Some(tail)
    }

    /// The same chunk as the connection's own: of what others get too, what waits is copied.
    pub(super) fn disowned(self) -> Chunk<Vec<u8>> {
        let Self { bytes, start, end, frame, is_control } = self;
        match bytes {
            Bytes::Own(bytes) => Chunk { bytes, start, end, frame, is_control },
            Bytes::Shared(bytes) => {
                // From the begin of its frame on, which `start` may lie in.
                let bytes = bytes[frame..end].to_vec();
                Chunk { start: start - frame, end: bytes.len(), frame: 0, bytes, is_control }
            }
        }
    }
}

impl From<Chunk<Vec<u8>>> for Chunk {
    fn from(Chunk { bytes, start, end, frame, is_control }: Chunk<Vec<u8>>) -> Self {
        Self { bytes: Bytes::Own(bytes), start, end, frame, is_control }
    }
}
