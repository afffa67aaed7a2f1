//! Headers: small things beside a payload, in one block of memory.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::limits::{HEADERS_BYTES_MAX, HEADERS_COUNT_MAX};

/// Small things beside a payload: strings by name, at most [`HEADERS_COUNT_MAX`] of them and
/// [`HEADERS_BYTES_MAX`] in all.
///
/// ```
/// use fanfare_protocol::Headers;
///
/// let headers = Headers::new([("trace", "a1"), ("lang", "de")])?;
/// assert_eq!(headers.iter().collect::<Vec<_>>(), [("lang", "de"), ("trace", "a1")]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// The headers by name, each as the lengths of its name and its value, as the characters of these numbers
    /// (none is above [`HEADERS_BYTES_MAX`], so each is a character), then name and value. A map of strings
    /// would take 40 times the memory of short ones.
    block: Box<str>,
}

impl Headers {
    /// The headers of those names and values; of two with one name the later counts.
    ///
    /// # Errors
    /// Says that they are too many, or too large together.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, String> {
        let mut kept = Vec::new();
        for entry in entries {
            if kept.len() == HEADERS_COUNT_MAX {
                return Err(format!("headers may be at most {HEADERS_COUNT_MAX}"));
            }
            kept.push(entry);
        }
        kept.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let last_of_its_name = |at: usize| {
            kept.get(at + 1).is_none_or(|(next, _): &(N, V)| next.as_ref() != kept[at].0.as_ref())
        };
        let entries = || {
            let kept = kept.iter().enumerate().filter(|(at, _)| last_of_its_name(*at));
            kept.map(|(_, (name, value))| (name.as_ref(), value.as_ref()))
        };
        let size: usize = entries().map(|(name, value)| name.len() + value.len()).sum();
        if size > HEADERS_BYTES_MAX {
            return Err(format!(
                "headers may have at most {HEADERS_BYTES_MAX} bytes together, these have {size}"
            ));
        }
        let mut block = String::new();
        for (name, value) in entries() {
            block.extend([length(name), length(value)]);
            block.push_str(name);
            block.push_str(value);
        }
        Ok(Self { block: block.into() })
    }

    /// Every name with its value, in the order of the names' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.block;
        std::iter::from_fn(move || {
            let mut lengths = rest.chars();
            let (name, value) = (lengths.next()? as usize, lengths.next()? as usize);
            let (entry, after) = lengths.as_str().split_at(name + value);
            rest = after;
            Some(entry.split_at(name))
        })
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Bytes of all names and values together: what is held against the limit.
    pub fn size_bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Bytes that they take on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.block.len()
    }
}

fn length(text: &str) -> char {
    let length = u32::try_from(text.len()).ok().and_then(char::from_u32);
    length.expect("lengths up to HEADERS_BYTES_MAX are numbers of characters")
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Written as a map.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not `collect_map`: MessagePack writes the number of entries first.
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            serde::ser::SerializeMap::serialize_entry(&mut map, name, value)?;
        }
        serde::ser::SerializeMap::end(map)
    }
}

/// Read from a map of strings. Takes no more memory than the limits allow, however large the map is.
impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapOfStrings;

        impl<'de> Visitor<'de> for MapOfStrings {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<String, String>()? {
                    if entries.len() > HEADERS_COUNT_MAX {
                        break;
                    }
                    entries.push(entry);
                }
                Headers::new(entries).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_map(MapOfStrings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_with_one_name_the_later_counts() {
        let headers = Headers::new([("b", "1"), ("a", "2"), ("b", "3")]).expect("small");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!((headers.len(), headers.size_bytes()), (2, 4));
    }

    #[test]
    fn their_number_and_their_bytes_are_bounded_and_may_reach_the_bounds() {
        let many = |count: usize| (0..count).map(|n| (format!("h{n:02}"), "")).collect::<Vec<_>>();
        assert!(Headers::new(many(HEADERS_COUNT_MAX)).is_ok());
        assert!(Headers::new(many(HEADERS_COUNT_MAX + 1)).is_err());
        assert!(Headers::new([("é".repeat(512), "")]).is_ok());
        assert!(Headers::new([("é".repeat(512), "x")]).is_err());
    }

    #[test]
    fn they_take_little_more_than_their_letters() {
        let full = (0..HEADERS_COUNT_MAX).map(|n| (format!("{n:02}"), "x".repeat(30)));
        let headers = Headers::new(full).expect("1,024 bytes");
        assert_eq!(headers.size_bytes(), HEADERS_BYTES_MAX);
        assert_eq!(headers.heap_bytes(), HEADERS_BYTES_MAX + 2 * HEADERS_COUNT_MAX);
        assert_eq!(Headers::default().heap_bytes(), 0);
    }
}
