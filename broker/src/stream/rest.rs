//! Bytes that wait to go on, in order. Pure.

/// What is left of bytes that go on a piece at a time. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    /// Invariant: at most the length of `bytes`, and 0 where that is 0.
    start: usize,
}

impl Rest {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The same, to be changed in place.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Where something is always left, too, what has gone on is kept no longer.
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// So many bytes have gone on.
    pub(super) fn advance(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Takes as much as there is room for into `buffer`; says how much.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.as_slice().len());
        buffer[..count].copy_from_slice(&self.as_slice()[..count]);
        self.advance(count);
        count
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_on_in_order_and_leave_nothing_behind() {
        let (mut rest, mut seen, mut buffer) = (Rest::default(), Vec::new(), [0; 3]);
        rest.push(b"one two ");
        let count = rest.take(&mut buffer);
        seen.extend_from_slice(&buffer[..count]);
        rest.push(b"three");
        while !rest.is_empty() {
            let count = rest.take(&mut buffer);
            seen.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(seen, b"one two three");
        assert_eq!((rest.held_bytes(), rest.as_slice()), (0, &b""[..]));
    }

    #[test]
    fn what_has_gone_on_is_not_kept_although_something_is_always_left() {
        let mut rest = Rest::default();
        for _ in 0..10_000 {
            rest.push(&[0; 100]);
            rest.advance(rest.as_slice().len() - 1);
        }
        assert!(rest.held_bytes() < 1000, "{} bytes", rest.held_bytes());
    }
}
