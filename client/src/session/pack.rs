//! Many frames in one WebSocket message.

use bytes::Bytes;
use fanfare_protocol::limits::FRAMES_PER_MESSAGE_MAX;
use fanfare_protocol::{ClientFrame, Codec};

/// Room in front of the frames for the head of the array.
const HEAD_BYTES: usize = 3;
/// The MessagePack marker of an array whose length has 16 bits.
const ARRAY_16: u8 = 0xdc;

/// Collects frames; one stands alone in its message, several become an array.
pub(crate) struct Packer {
    codec: Codec,
    /// Largest message in bytes, unless one frame alone is larger.
    size_max: usize,
    bytes: Vec<u8>,
    count: usize,
}

impl Packer {
    pub(crate) fn new(codec: Codec, size_max: usize) -> Self {
        Self { codec, size_max, bytes: Vec::new(), count: 0 }
    }

    /// Adds a frame, unless the message is full: it is asked for again, then.
    pub(crate) fn add(&mut self, frame: &ClientFrame<'_>) -> bool {
        if self.count == FRAMES_PER_MESSAGE_MAX || (self.count > 0 && self.bytes.len() >= self.size_max) {
            return false;
        }
        let before = self.bytes.len();
        match (self.codec, self.count) {
            (_, 0) => self.bytes.resize(HEAD_BYTES, b'['),
            (Codec::Json, _) => self.bytes.push(b','),
            (Codec::MessagePack, _) => {}
        }
        self.codec.encode_client(frame, &mut self.bytes);
        // One for the closing bracket.
        if self.count > 0 && self.bytes.len() - HEAD_BYTES + 1 + self.head_len() > self.size_max {
            self.bytes.truncate(before);
            return false;
        }
        self.count += 1;
        true
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
    fn packed(codec: Codec, size_max: usize, frames: &[ClientFrame<'_>]) -> (usize, usize) {
        let mut packer = Packer::new(codec, size_max);
        let taken = frames.iter().take_while(|frame| packer.add(frame)).count();
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
    fn a_frame_that_is_too_large_by_itself_goes_alone() {
        let payload = "x".repeat(1_000);
        let frames = [publish(1, &payload), publish(2, "hi")];
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(packed(codec, 100, &frames).0, 1);
        }
    }
}
