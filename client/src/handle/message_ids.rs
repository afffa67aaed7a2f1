//! The ids of publishes that were given none.

use std::sync::Arc;

/// Makes message ids of 32 hexadecimal digits: 8 that name this client and 8 that count, for people; and 16 of
/// chance, or somebody who has seen one could publish under the next before its owner does.
#[derive(Debug)]
pub(crate) struct MessageIds {
    name: u32,
    made: u32,
}

impl MessageIds {
    pub(crate) fn new(name: u32) -> Self {
        Self { name, made: 0 }
    }

    pub(crate) fn make(&mut self) -> Arc<str> {
        self.made = self.made.wrapping_add(1);
        let named = u64::from(self.name) << 32 | u64::from(self.made);
        let mut id = [0; 32];
        for (half, number) in id.chunks_exact_mut(16).zip([named, rand::random()]) {
            write_hex(half, number);
        }
        std::str::from_utf8(&id).expect("digits").into()
    }
}

/// The digits of a number; `format!` takes a good part of what a publish costs.
fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_are_distinct_and_count() {
        let mut ids = MessageIds::new(0xabc);
        let (first, second) = (ids.make(), ids.make());
        assert_eq!((first.len(), second.len()), (32, 32));
        assert_eq!((&first[..16], &second[..16]), ("00000abc00000001", "00000abc00000002"));
        assert_ne!(first[16..], second[16..]);
    }
}
