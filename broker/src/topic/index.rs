//! The names of all topics in their order, for whoever lists them a page at a time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};
use std::vec;

use fanfare_protocol::TopicName;

/// Parts of the index, each behind its own lock, so that those who make topics seldom meet.
const PARTS: usize = 16;
/// Names that are read from a part while its lock is held.
const SLICE_MAX: usize = 64;

/// All names, in order. Changed only when a topic is made or dropped.
#[derive(Debug, Default)]
pub(crate) struct Index {
    parts: [RwLock<BTreeSet<TopicName>>; PARTS],
}

impl Index {
    fn part(&self, hash: u64) -> &RwLock<BTreeSet<TopicName>> {
        &self.parts[hash as usize % PARTS]
    }

    /// Adds the name; always with the same hash for one name.
    pub(crate) fn insert(&self, hash: u64, name: TopicName) {
        self.part(hash).write().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Takes the name out.
    pub(crate) fn remove(&self, hash: u64, name: &TopicName) {
        self.part(hash).write().unwrap_or_else(PoisonError::into_inner).remove(name.as_str());
    }

    /// Reads the names that begin with `prefix` and come after `after`, in order; made for somebody who wants about
    /// so many. Takes time for what is read, whatever there is beside it.
    pub(crate) fn scan(&self, prefix: &str, after: Option<&str>, about: usize) -> Scan<'_> {
        let slice = about.div_ceil(PARTS).saturating_add(1).min(SLICE_MAX);
        let after = after.filter(|after| *after >= prefix).map(str::to_owned);
        let mut scan = Scan {
            index: self,
            prefix: prefix.to_owned(),
            slice,
            ahead: (0..PARTS).map(|_| Vec::new().into_iter()).collect(),
            first: BinaryHeap::with_capacity(PARTS),
            looked_at: 0,
        };
        for part in 0..PARTS {
            let from = match &after {
                Some(after) => Bound::Excluded(after.as_str()),
                None => Bound::Included(prefix),
            };
            scan.refill(part, from);
        }
        scan
    }
}

/// Merges the parts of an [`Index`]; it holds no lock between two names. A name that is added or taken out
/// meanwhile may or may not come.
#[derive(Debug)]
pub(crate) struct Scan<'i> {
    index: &'i Index,
    prefix: String,
    /// Names read from a part at a time.
    slice: usize,
    /// Names of each part that were read and come later than its first.
    ahead: Vec<vec::IntoIter<TopicName>>,
    /// The first name of each part that has more.
    first: BinaryHeap<Reverse<(TopicName, usize)>>,
    /// Names looked at.
    looked_at: usize,
}

impl Scan<'_> {
    fn refill(&mut self, part: usize, from: Bound<&str>) {
        let names = self.index.parts[part].read().unwrap_or_else(PoisonError::into_inner);
        let range = names.range::<str, _>((from, Bound::Unbounded));
        let fitting = range.take_while(|name| name.as_str().starts_with(&self.prefix));
        let slice: Vec<_> = fitting.take(self.slice).cloned().collect();
        drop(names);
        self.looked_at += slice.len();
        let mut slice = slice.into_iter();
        if let Some(first) = slice.next() {
            self.first.push(Reverse((first, part)));
            self.ahead[part] = slice;
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = TopicName;

    fn next(&mut self) -> Option<TopicName> {
        let Reverse((name, part)) = self.first.pop()?;
        match self.ahead[part].next() {
            Some(next) => self.first.push(Reverse((next, part))),
            None => self.refill(part, Bound::Excluded(name.as_str())),
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Names;
    use proptest::prelude::*;

    fn name(text: &str) -> TopicName {
        text.parse().expect("a name")
    }

    /// Any hash will do, as long as it is the name's own.
    fn hash(text: &str) -> u64 {
        text.bytes().fold(7, |hash, byte| hash * 31 + u64::from(byte))
    }

    #[derive(Debug, Clone)]
    enum Op {
        Drop(String),
        Make(String),
        Page { prefix: String, after: Option<String>, limit: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => "[ab:é]{1,4}".prop_map(Op::Make),
            2 => "[ab:é]{1,4}".prop_map(Op::Drop),
            3 => ("[ab:é]{0,2}", proptest::option::of("[ab:é]{0,4}"), 0..40usize)
                .prop_map(|(prefix, after, limit)| Op::Page { prefix, after, limit }),
        ]
    }

    fn names() -> impl Strategy<Value = Names> {
        prop_oneof!["[ab]{0,3}".prop_map(Names::Prefix), "[ab]{1,4}".prop_map(Names::Exact),]
    }

    proptest! {
        #[test]
        fn an_index_behaves_as_one_ordered_set(ops in proptest::collection::vec(op(), 0..300)) {
            let (index, mut model) = (Index::default(), BTreeSet::new());
            for op in ops {
                match op {
                    Op::Make(text) => {
                        index.insert(hash(&text), name(&text));
                        model.insert(text);
                    }
                    Op::Drop(text) => {
                        index.remove(hash(&text), &name(&text));
                        model.remove(&text);
                    }
                    Op::Page { prefix, after, limit } => {
                        let after = after.as_deref();
                        let mut scan = index.scan(&prefix, after, limit);
                        let page: Vec<_> = scan.by_ref().take(limit).map(|name| name.to_string()).collect();
                        let is_of_it = |name: &&String| {
                            name.starts_with(&prefix) && after.is_none_or(|after| name.as_str() > after)
                        };
                        prop_assert_eq!(page, model.iter().filter(is_of_it).take(limit).cloned().collect::<Vec<_>>());
                        prop_assert!(scan.looked_at <= 2 * limit + 3 * PARTS, "{} for {limit}", scan.looked_at);
                    }
                }
            }
        }

        /// What is in order covers what was there and begins with the prefix, each name once.
        #[test]
        fn names_in_order_are_those_that_were_given(
            all in proptest::collection::vec(names(), 0..8),
            prefix in "[ab]{0,2}",
            asked in "[ab]{1,5}",
        ) {
            let ordered = Names::in_order(all.iter().cloned(), &prefix);
            let asked = Names::Exact(asked);
            let is_wanted = asked.text().starts_with(&prefix) && all.iter().any(|names| names.cover(&asked));
            let count = ordered.iter().filter(|names| names.cover(&asked)).count();
            prop_assert_eq!(count, usize::from(is_wanted));
            prop_assert!(ordered.is_sorted_by(|a, b| a.text() < b.text()));
        }
    }

    #[test]
    fn a_page_costs_what_it_shows_however_many_names_there_are() {
        let index = Index::default();
        for n in 0..100_000 {
            let text = format!("room:{n:06}");
            index.insert(hash(&text), name(&text));
        }
        for (prefix, after, limit, first) in [
            ("", None, 1, Some("room:000000")),
            ("room:", Some("room:049999"), 100, Some("room:050000")),
            ("room:09999", Some("a"), 1000, Some("room:099990")),
            ("", Some("room:099999"), 1000, None),
            ("rooms", None, 1000, None),
            ("a", None, 1000, None),
        ] {
            let mut scan = index.scan(prefix, after, limit);
            let page: Vec<_> = scan.by_ref().take(limit).collect();
            assert_eq!(page.first().map(TopicName::as_str), first, "{prefix} {after:?}");
            assert!(scan.looked_at <= 2 * page.len() + 3 * PARTS, "{} for {}", scan.looked_at, page.len());
        }
    }
}
