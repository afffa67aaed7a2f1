//! What a connection is about to send: WebSocket frames, masked as RFC 6455 asks of a client.

/// What a frame carries that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
    Text = 1,
}

/// Frames that wait to be written. Whoever fills it bounds it.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    masks: u64,
}

impl Outgoing {
    /// The frames of connection `n`, which masks unlike the others.
    pub(crate) fn new(n: u64) -> Self {
        Self { bytes: Vec::new(), masks: n }
    }

    /// Appends a frame that is a message of its own, made of `parts`.
    pub(crate) fn frame(&mut self, opcode: Opcode, parts: &[&[u8]]) {
        let mask = self.next_mask().to_be_bytes();
        let out = &mut self.bytes;
        out.push(0x80 | opcode as u8);
        match parts.iter().map(|part| part.len()).sum() {
            length @ 0..=125 => out.push(0x80 | length as u8),
            length if length <= usize::from(u16::MAX) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        let start = out.len();
        parts.iter().for_each(|part| out.extend_from_slice(part));
        apply_mask(&mut out[start..], mask);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the first `count` bytes, which have been written.
    pub(crate) fn written(&mut self, count: usize) {
        match count == self.bytes.len() {
            true => self.bytes.clear(),
            false => drop(self.bytes.drain(..count)),
        }
    }

    /// A new mask: no secret, but no constant either, so that a broker has to unmask.
    fn next_mask(&mut self) -> u32 {
        self.masks = self.masks.wrapping_add(1);
        (self.masks.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }
}

/// Masks, and unmasks what is masked.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u32::from_ne_bytes(mask);
    let wide = u64::from(wide) << 32 | u64::from(wide);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_in_a_foreign_implementation() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let body: Vec<u8> = (0..length).map(|n: u32| n as u8).collect();
            for cut in [0, length.min(1), length.min(3), length] {
                let (front, back) = body.split_at(cut as usize);
                let mut outgoing = Outgoing::new(7);
                outgoing.frame(Opcode::Text, &[front, back]);
                let out = outgoing.bytes();
                let mut cursor = std::io::Cursor::new(out);
                let (header, size) = tungstenite::protocol::frame::FrameHeader::parse(&mut cursor)
                    .expect("well-formed")
                    .expect("whole");
                assert_eq!(size, u64::from(length));
                let mask = header.mask.expect("a client masks");
                let at = cursor.position() as usize;
                let unmasked: Vec<u8> =
                    out[at..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
                assert_eq!(unmasked, body, "cut at {cut}");
            }
        }
    }

    #[test]
    fn masks_differ_from_frame_to_frame() {
        let mut outgoing = Outgoing::new(7);
        outgoing.frame(Opcode::Text, &[b"same"]);
        let first = outgoing.bytes().to_vec();
        outgoing.written(first.len());
        assert!(outgoing.is_empty());
        outgoing.frame(Opcode::Text, &[b"same"]);
        assert_ne!(outgoing.bytes(), first);
    }
}
