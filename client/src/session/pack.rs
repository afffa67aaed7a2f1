//! Many frames in one WebSocket message.

use bytes::Bytes;
use fanfare_protocol::limits::FRAMES_PER_MESSAGE_MAX;
use fanfare_protocol::{ClientFrame, Codec};

/// Bytes in front of the frames for the head of the array.
const HEAD_BYTES: usize = 3;
/// The MessagePack marker of an array whose length has 16 bits.
const ARRAY_16: u8 = 0xdc;

/// How large messages may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The most that a message of several frames may have.
    pub(crate) packed_max: usize,
    /// The most that one frame may have.
    pub(crate) single_max: usize,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    Packed,
    /// The message is full: the frame is asked for again, then.
    Full,
    /// The frame is too large by itself: it has so many bytes.
    TooLarge(usize),
}

/// Collects frames; one stands alone in its message, several become an array.
pub(crate) struct Packer {
    codec: Codec,
    sizes: Sizes,
    bytes: Vec<u8>,
    count: usize,
    /// Bytes to reserve when there is something to pack.
    expected: usize,
}

impl Packer {
    /// Expects as much as the message before had: growing step by step costs more than what is packed under load.
    pub(crate) fn new(codec: Codec, sizes: Sizes, expected: usize) -> Self {
        Self { codec, sizes, bytes: Vec::new(), count: 0, expected: expected.min(sizes.packed_max) }
    }

    /// Adds a frame, if it fits.
    pub(crate) fn add(&mut self, frame: &ClientFrame<'_>) -> Added {
        let Sizes { packed_max, single_max } = self.sizes;
        if self.count == FRAMES_PER_MESSAGE_MAX || (self.count > 0 && self.bytes.len() >= packed_max) {
            return Added::Full;
        }
        let before = self.bytes.len();
        match (self.codec, self.count) {
            (_, 0) => {
                self.bytes.reserve(self.expected);
                self.bytes.resize(HEAD_BYTES, b'[');
            }
            (Codec::Json, _) => self.bytes.push(b','),
            (Codec::MessagePack, _) => {}
        }
        let begin = self.bytes.len();
        self.codec.encode_client(frame, &mut self.bytes);
        let alone = self.bytes.len() - begin;
        // One for the closing bracket.
        let does_not_fit = self.count > 0 && self.bytes.len() - HEAD_BYTES + 1 + self.head_len() > packed_max;
        if alone > single_max || does_not_fit {
            self.bytes.truncate(before);
            return if alone > single_max { Added::TooLarge(alone) } else { Added::Full };
        }
        self.count += 1;
        Added::Packed
    }

    /// The message, if there is anything in it.
    pub(crate) fn finish(mut self) -> Option<Bytes> {
        let head = match (self.codec, self.count) {
            (_, 0) => return None,
            (_, 1) => 0,
            (Codec::Json, _) => {
                self.bytes.push(b']');
                self.head_len()
            }
            (Codec::MessagePack, count) => {
                let [high, low] = u16::try_from(count).expect("at most 1,024 frames").to_be_bytes();
                self.bytes[..HEAD_BYTES].copy_from_slice(&[ARRAY_16, high, low]);
                self.head_len()
            }
        };
        Some(Bytes::from(self.bytes).slice(HEAD_BYTES - head..))
    }

    /// Bytes of the array's head.
    fn head_len(&self) -> usize {
        match self.codec {
            Codec::Json => 1,
            Codec::MessagePack => HEAD_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{ClientOp, PayloadRef, Publish, RequestId, TopicRef};

    use super::*;

    fn publish(id: u64, payload: &str) -> ClientFrame<'_> {
        ClientFrame {
            id: RequestId::new(id),
            op: ClientOp::Publish(Publish {
                topic: TopicRef::new("t").expect("a topic name"),
                payload: PayloadRef::Text(payload.into()),
                message_id: None,
                headers: None,
            }),
        }
    }

    /// How many of `frames` went into one message, which the broker's decoder takes.
    fn packed(codec: Codec, packed_max: usize, frames: &[ClientFrame<'_>]) -> (usize, usize) {
        let mut packer = Packer::new(codec, Sizes { packed_max, single_max: 1 << 20 }, 0);
        let taken = frames.iter().take_while(|frame| packer.add(frame) == Added::Packed).count();
        let message = packer.finish().expect("there were frames");
        let read: Vec<_> =
            codec.decode_client(&message).expect("frames").into_iter().map(Result::unwrap).collect();
        assert_eq!(read, frames[..taken]);
        (taken, message.len())
    }

    #[test]
    fn what_is_packed_reads_back_in_both_codecs() {
        let frames: Vec<_> = (1..=5_000).map(|id| publish(id, "hi")).collect();
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(packed(codec, 1 << 20, &frames[..1]).0, 1);
            assert_eq!(packed(codec, 1 << 20, &frames[..2]).0, 2);
            assert_eq!(packed(codec, 1 << 20, &frames).0, FRAMES_PER_MESSAGE_MAX);
        }
    }

    #[test]
    fn a_message_stays_within_its_size() {
        let payload = "x".repeat(1_000);
        let frames: Vec<_> = (1..=100).map(|id| publish(id, &payload)).collect();
        for codec in [Codec::Json, Codec::MessagePack] {
            for size_max in (9_000..11_000).step_by(7) {
                let (taken, len) = packed(codec, size_max, &frames);
                assert!(
                    len <= size_max && len + 1_100 > size_max,
                    "{taken} frames, {len} of {size_max} bytes"
                );
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_large_to_be_packed_goes_alone() {
        let payload = "x".repeat(1_000);
        let frames = [publish(1, &payload), publish(2, "hi")];
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(packed(codec, 100, &frames).0, 1);
        }
    }

    #[test]
    fn a_frame_that_is_too_large_by_itself_is_left_out_exactly() {
        let payload = "x".repeat(1_000);
        for codec in [Codec::Json, Codec::MessagePack] {
            let (_, bytes) = packed(codec, 1 << 20, &[publish(1, &payload)]);
            let add = |packer: &mut Packer| packer.add(&publish(1, &payload));
            let sizes = |single_max| Sizes { packed_max: single_max, single_max };
            assert_eq!(add(&mut Packer::new(codec, sizes(bytes), 0)), Added::Packed);
            let mut packer = Packer::new(codec, sizes(bytes - 1), 1 << 20);
            assert_eq!(add(&mut packer), Added::TooLarge(bytes));
            assert_eq!(packer.add(&publish(2, "hi")), Added::Packed);
            assert_eq!(add(&mut packer), Added::TooLarge(bytes), "nor does it go with others");
            let message = packer.finish().expect("there is one");
            assert_eq!(codec.decode_client(&message).expect("frames"), [Ok(publish(2, "hi"))]);
        }
    }
}
