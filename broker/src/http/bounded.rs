//! Lists that take no more memory than they may have items.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// The first items of a list: `N` and one more, which says that there are too many. The rest is read over.
#[derive(Debug)]
pub(super) struct Bounded<T, const N: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, N>(PhantomData))
    }
}

struct Items<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
    type Value = Bounded<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() <= N {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Bounded(items)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Bounded(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_may_be_is_kept_and_the_rest_must_be_good_too() {
        for (text, expected) in [("[]", vec![]), ("[1,2]", vec![1, 2]), ("[1,2,3,4,5]", vec![1, 2, 3])] {
            let Bounded(items) = serde_json::from_str::<Bounded<u8, 2>>(text).expect("a list");
            assert_eq!(items, expected, "{text}");
        }
        serde_json::from_str::<Bounded<u8, 2>>("[1,2,3,4,5").expect_err("it does not end");
    }
}
