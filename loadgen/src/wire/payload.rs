//! What a publication carries: who sent it, which one it is and when it was due, in fixed places.
//!
//! A payload is a JSON string without escapes, so that it passes through any broker unchanged and can be
//! read out of a frame without parsing the frame: `"~`, then 32 letters from `a` to `p` (four bits
//! each), then padding, then `"`. No envelope and no topic of a run holds the `~`.
//!
//! The padding follows from the stamp, so that whoever reads it knows all of a payload: it is a fixed
//! pattern that begins elsewhere for each stamp.

/// Smallest payload, in bytes: what the stamp alone takes.
pub(crate) const SIZE_MIN: usize = 2 + 4 * WORD + 1;
/// Largest payload, in bytes.
pub(crate) const SIZE_MAX: usize = 16 * 1024 * 1024;
/// Most publishers that a stamp can tell apart.
pub(crate) const PUBLISHERS_MAX: u32 = 1 << PUBLISHER_BITS;
/// Most topics that a stamp can tell apart.
pub(crate) const TOPICS_MAX: u32 = 1 << TOPIC_BITS;

const MARKER: u8 = b'~';
const WORD: usize = 8;
const PUBLISHER_BITS: u32 = 12;
const TOPIC_BITS: u32 = 19;
/// After so many bytes the padding repeats: a prime, so that nothing else repeats with it.
const PERIOD: usize = 251;
/// Twice the pattern of the padding: from wherever in the first one, there is a whole one to copy or compare.
const PATTERN: [u8; 2 * PERIOD] = pattern();

/// What a payload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Whether it counts: false during warm-up.
    pub(crate) measured: bool,
    /// Below [`PUBLISHERS_MAX`].
    pub(crate) publisher: u32,
    /// Below [`TOPICS_MAX`].
    pub(crate) topic: u32,
    /// 0, 1, 2 ... for each publisher and topic.
    pub(crate) sequence: u32,
    /// When it was to be sent, on the clock of [`now_ns`](crate::machine::clock::now_ns).
    pub(crate) due_ns: u64,
}

impl Stamp {
    /// Appends a payload of exactly `size` bytes, at least [`SIZE_MIN`].
    pub(crate) fn write(&self, size: usize, out: &mut Vec<u8>) {
        debug_assert!(size >= SIZE_MIN && self.publisher < PUBLISHERS_MAX && self.topic < TOPICS_MAX);
        let who = u32::from(self.measured) << 31 | self.publisher << TOPIC_BITS | self.topic;
        let end = out.len() + size;
        out.extend_from_slice(&[b'"', MARKER]);
        for word in [who, self.sequence, (self.due_ns >> 32) as u32, self.due_ns as u32] {
            out.extend_from_slice(&to_letters(word));
        }
        let pattern = self.pattern();
        while out.len() < end - 1 {
            out.extend_from_slice(&pattern[..PERIOD.min(end - 1 - out.len())]);
        }
        out.push(b'"');
    }

    /// The first stamp in `bytes` and what follows its payload, which must be whole, `size` bytes long and in
    /// all of them what [`write`](Self::write) has made.
    pub(crate) fn find(bytes: &[u8], size: usize) -> Option<(Self, &[u8])> {
        let start = memchr::memchr(MARKER, bytes)?.checked_sub(1)?;
        let (payload, rest) = bytes[start..].split_at_checked(size)?;
        if payload[0] != b'"' || payload[size - 1] != b'"' {
            return None;
        }
        let word = |n: usize| from_letters(payload[2 + n * WORD..].first_chunk()?);
        let who = word(0)?;
        let stamp = Self {
            measured: who >> 31 == 1,
            publisher: (who >> TOPIC_BITS) & (PUBLISHERS_MAX - 1),
            topic: who & (TOPICS_MAX - 1),
            sequence: word(1)?,
            due_ns: u64::from(word(2)?) << 32 | u64::from(word(3)?),
        };
        let pattern = stamp.pattern();
        let mut padding = payload[SIZE_MIN - 1..size - 1].chunks(PERIOD);
        padding.all(|chunk| *chunk == pattern[..chunk.len()]).then_some((stamp, rest))
    }

    /// What its padding repeats.
    fn pattern(&self) -> &'static [u8] {
        let Self { measured, publisher, topic, sequence, due_ns } = *self;
        // Any mixture of all of it does: what is altered shall not fit what was not.
        let who = u64::from(measured) << 31 | u64::from(publisher << TOPIC_BITS | topic);
        let mixed = (who ^ u64::from(sequence).rotate_left(32) ^ due_ns).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &PATTERN[(mixed >> 32) as usize % PERIOD..][..PERIOD]
    }
}

/// Letters and digits without a visible order: nothing that any dialect would escape or take for its own.
const fn pattern() -> [u8; 2 * PERIOD] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
    let mut pattern = [0; 2 * PERIOD];
    let (mut at, mut random) = (0, 1_u32);
    while at < PERIOD {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pattern[at] = LETTERS[(random >> 26) as usize];
        pattern[at + PERIOD] = pattern[at];
        at += 1;
    }
    pattern
}

const EVERY_A: u64 = u64::from_be_bytes([b'a'; 8]);

/// Spreads the eight nibbles of `word` over eight bytes, most significant first, all at once.
fn to_letters(word: u32) -> [u8; WORD] {
    let mut x = u64::from(word);
    x = (x | x << 16) & 0x0000_FFFF_0000_FFFF;
    x = (x | x << 8) & 0x00FF_00FF_00FF_00FF;
    x = (x | x << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    (x + EVERY_A).to_be_bytes()
}

/// The reverse; nothing where a byte is no letter from `a` to `p`.
fn from_letters(letters: &[u8; WORD]) -> Option<u32> {
    let mut x = u64::from_be_bytes(*letters).wrapping_sub(EVERY_A);
    if x & 0xF0F0_F0F0_F0F0_F0F0 != 0 {
        return None;
    }
    x = (x | x >> 4) & 0x00FF_00FF_00FF_00FF;
    x = (x | x >> 8) & 0x0000_FFFF_0000_FFFF;
    Some((x | x >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        measured: true,
        publisher: PUBLISHERS_MAX - 1,
        topic: 54_321,
        sequence: 0xDEAD_BEEF,
        due_ns: 0x0123_4567_89AB_CDEF,
    };

    fn payload(stamp: Stamp, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        stamp.write(size, &mut out);
        out
    }

    #[test]
    fn a_payload_has_the_size_asked_for_and_is_a_json_string() {
        for size in [SIZE_MIN, SIZE_MIN + 1, 128, 4096] {
            let payload = payload(STAMP, size);
            assert_eq!(payload.len(), size);
            let text: String = serde_json::from_slice(&payload).expect("a JSON string");
            assert_eq!(text.len(), size - 2, "nothing in it is escaped");
        }
    }

    #[test]
    fn a_stamp_is_found_inside_a_frame_with_what_follows_it() {
        for stamp in [STAMP, Stamp { measured: false, publisher: 0, topic: 0, sequence: 0, due_ns: 0 }] {
            let frame = [br#"{"type":"message","data":"#.as_slice(), &payload(stamp, 40), b",tail"].concat();
            assert_eq!(Stamp::find(&frame, 40), Some((stamp, b",tail".as_slice())));
        }
    }

    #[test]
    fn a_payload_that_was_cut_or_altered_has_no_stamp() {
        let whole = payload(STAMP, 40);
        for cut in 0..40 {
            assert_eq!(Stamp::find(&whole[..cut], 40), None, "{cut} bytes");
        }
        assert_eq!(Stamp::find(&whole[1..], 39), None, "no opening quote");
        assert_eq!(Stamp::find(&whole, 39), None, "longer than expected");
        for byte in [b'`', b'q', b'A', 0, 255] {
            for at in 2..34 {
                let mut altered = whole.clone();
                altered[at] = byte;
                assert_eq!(Stamp::find(&altered, 40), None, "byte {byte} at {at}");
            }
        }
    }

    #[test]
    fn no_byte_of_a_payload_can_be_altered_unseen() {
        let whole = payload(STAMP, 700);
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            let found = Stamp::find(&altered, 700);
            assert!(found.is_none_or(|(stamp, _)| at < SIZE_MIN && stamp != STAMP), "byte {at}");
        }
    }

    #[test]
    fn the_padding_of_one_publication_does_not_fit_another() {
        let padding = |sequence| payload(Stamp { sequence, ..STAMP }, 128).split_off(SIZE_MIN - 1);
        let same = (1..1000).filter(|sequence| padding(*sequence) == padding(0)).count();
        assert!(same < 20, "{same} of 1,000");
    }
}
