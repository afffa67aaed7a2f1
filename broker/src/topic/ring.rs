//! A topic's bounded ring: the newest items, by offset. Pure. [Life of a publication: step 3]

use std::collections::VecDeque;

use fanfare_protocol::Offset;

/// The newest items of a topic.
///
/// Offsets are consecutive, so an item's offset follows from its place; a subscription is a cursor, the
/// offset it wants next. Memory grows with what is kept and is given back when the ring is emptied.
#[derive(Debug)]
pub struct Ring<T> {
    /// Items with their sizes, oldest first.
    items: VecDeque<(T, usize)>,
    /// Invariant: the sum of the sizes in `items`.
    bytes: usize,
    /// The newest offset ever given; 0 before the first.
    head: Offset,
}

/// A cursor points before the oldest item kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// The oldest offset kept, or the next to come when nothing is kept.
    pub oldest: Offset,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0, head: Offset::ZERO }
    }
}

impl<T> Ring<T> {
    /// Appends the item at the offset after the head, and gives back what no longer fits: at most
    /// `count` items and `bytes` bytes are kept, but always the newest.
    pub fn push(&mut self, item: T, size: usize, count: usize, bytes: usize) -> Vec<T> {
        self.head = self.head.next();
        self.items.push_back((item, size));
        self.bytes += size;
        let mut evicted = Vec::new();
        while self.items.len() > 1 && (self.items.len() > count || self.bytes > bytes) {
            evicted.extend(self.pop_oldest());
        }
        evicted
    }

    /// Removes the oldest item.
    pub fn pop_oldest(&mut self) -> Option<T> {
        let (item, size) = self.items.pop_front()?;
        self.bytes -= size;
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// The newest offset ever given; 0 before the first.
    pub fn head(&self) -> Offset {
        self.head
    }

    /// The oldest offset kept, or the next to come when nothing is kept.
    pub fn oldest(&self) -> Offset {
        Offset::new(self.head.get() + 1 - self.items.len() as u64)
    }

    /// The items from offset `from` on.
    ///
    /// # Errors
    /// [`Lagged`] when `from` is no longer kept.
    pub fn since(&self, from: Offset) -> Result<impl Iterator<Item = &T>, Lagged> {
        let oldest = self.oldest();
        if from < oldest {
            return Err(Lagged { oldest });
        }
        let skip = usize::try_from(from.get() - oldest.get()).unwrap_or(usize::MAX);
        Ok(self.items.range(skip.min(self.items.len())..).map(|(item, _)| item))
    }

    /// The oldest offset among the newest `count` items that have at most `bytes` bytes together; the
    /// newest item counts whatever its size, unless `count` is 0.
    pub fn oldest_within(&self, count: usize, bytes: usize) -> Offset {
        let mut total = 0;
        let newest = self.items.iter().rev().take(count).enumerate();
        let fitting = newest.take_while(|(nth, (_, size))| {
            total += size;
            *nth == 0 || total <= bytes
        });
        Offset::new(self.head.get() + 1 - fitting.count() as u64)
    }

    /// How many items are kept.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The sizes of what is kept, together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Op {
        Pop,
        Push { size: usize },
        Since(u64),
        Within { count: usize, bytes: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            1 => Just(Op::Pop),
            6 => (0..40usize).prop_map(|size| Op::Push { size }),
            2 => (0..80u64).prop_map(Op::Since),
            1 => (0..10usize, 0..100usize).prop_map(|(count, bytes)| Op::Within { count, bytes }),
        ]
    }

    proptest! {
        /// The model keeps every item ever pushed, with its offset and size, and the number of those gone.
        #[test]
        fn a_ring_behaves_as_a_plain_list(
            count in 0..8usize,
            bytes in 0..100usize,
            ops in proptest::collection::vec(op(), 0..120),
        ) {
            let mut ring = Ring::default();
            let (mut all, mut gone) = (Vec::<usize>::new(), 0);
            for op in ops {
                match op {
                    Op::Push { size } => {
                        all.push(size);
                        let evicted = ring.push(all.len() as u64, size, count, bytes);
                        let before = gone;
                        let kept = |gone: usize| all[gone..].iter().sum::<usize>();
                        while all.len() - gone > 1 && (all.len() - gone > count || kept(gone) > bytes) {
                            gone += 1;
                        }
                        prop_assert_eq!(evicted, (before as u64 + 1..=gone as u64).collect::<Vec<_>>());
                    }
                    Op::Pop => {
                        let popped = ring.pop_oldest();
                        if gone < all.len() {
                            gone += 1;
                            prop_assert_eq!(popped, Some(gone as u64));
                        } else {
                            prop_assert_eq!(popped, None);
                        }
                    }
                    Op::Since(from) => {
                        let read = ring.since(Offset::new(from)).map(|items| items.copied().collect::<Vec<_>>());
                        if from <= gone as u64 {
                            prop_assert_eq!(read, Err(Lagged { oldest: Offset::new(gone as u64 + 1) }));
                        } else {
                            prop_assert_eq!(read, Ok((from..=all.len() as u64).collect()));
                        }
                    }
                    Op::Within { count, bytes } => {
                        let mut oldest = all.len();
                        while oldest > gone
                            && all.len() - oldest < count
                            && (oldest == all.len() || all[oldest - 1..].iter().sum::<usize>() <= bytes)
                        {
                            oldest -= 1;
                        }
                        prop_assert_eq!(ring.oldest_within(count, bytes).get(), oldest as u64 + 1);
                    }
                }
                prop_assert_eq!(ring.head().get(), all.len() as u64);
                prop_assert_eq!(ring.oldest().get(), gone as u64 + 1);
                prop_assert_eq!(ring.len(), all.len() - gone);
                prop_assert_eq!(ring.bytes(), all[gone..].iter().sum::<usize>());
            }
        }
    }
}
