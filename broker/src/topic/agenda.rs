//! Things in the order of a moment that each has: what is due next, what was used longest ago.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::clock::Uptime;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence};

/// The moment under which a thing stands in an [`Agenda`]. It is kept in the thing itself, so that whoever
/// finds it filed early enough needs no lock.
#[derive(Debug, Default)]
pub(crate) struct Filed(
    /// The moment's milliseconds and one; 0 while it is not filed. Written under the agenda's lock alone.
    AtomicU64,
);

impl Filed {
    /// The moment under which the thing is filed, if it is.
    pub(crate) fn at(&self) -> Option<Uptime> {
        self.0.load(Ordering::SeqCst).checked_sub(1).map(Uptime::from_ms)
    }

    fn set(&self, at: Option<Uptime>) {
        self.0.store(at.map_or(0, |at| at.as_ms() + 1), Ordering::SeqCst);
    }
}

/// Things by moment, each at most once. What is done with it costs O(log n), so its lock is never held for long.
///
/// An ordered map and no wheel of slots: it needs no granularity, a thing that is moved leaves nothing
/// behind, and what is not due is not looked at.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Agenda<T> {
    /// Invariant: each thing stands under the moment that its [`Filed`] says and its own address, nowhere else.
    things: Mutex<BTreeMap<(Uptime, usize), Arc<T>>>,
    filed: fn(&T) -> &Filed,
}

impl<T> Agenda<T> {
    /// An empty one, for things that keep their place in what `filed` shows.
    pub(crate) fn new(filed: fn(&T) -> &Filed) -> Self {
        Self { things: Mutex::default(), filed }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Uptime, usize), Arc<T>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files the thing under that moment, unless it is filed under one as early already, which costs one load.
    pub(crate) fn file(&self, thing: &Arc<T>, at: Uptime) {
        let at = at.min(Uptime::from_ms(u64::MAX - 1));
        let filed = (self.filed)(thing);
        if filed.at().is_some_and(|before| before <= at) {
            return;
        }
        let mut things = self.lock();
        match filed.at() {
            Some(before) if before <= at => return,
            Some(before) => drop(things.remove(&(before, address(thing)))),
            None => {}
        }
        filed.set(Some(at));
        things.insert((at, address(thing)), Arc::clone(thing));
    }

    /// Takes the thing out, if it is filed.
    pub(crate) fn remove(&self, thing: &Arc<T>) {
        let filed = (self.filed)(thing);
        if filed.at().is_none() {
            return;
        }
        let mut things = self.lock();
        if let Some(at) = filed.at() {
            filed.set(None);
            things.remove(&(at, address(thing)));
        }
    }

    /// Takes out the thing with the earliest moment, if that is no later than `until`.
    pub(crate) fn pop_until(&self, until: Uptime) -> Option<(Uptime, Arc<T>)> {
        let mut things = self.lock();
        let first = things.first_entry()?;
        let (at, _) = *first.key();
        if at > until {
            return None;
        }
        let thing = first.remove();
        (self.filed)(&thing).set(None);
        Some((at, thing))
    }

    /// Whether nothing is filed.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Moves what is due until that moment into `into`, the earliest first, but no more than `most`. Whoever changes
    /// a thing, has a fence and finds it filed still is seen to have changed it by whoever looks at it now.
    pub(crate) fn take_until(&self, until: Uptime, most: usize, into: &mut Vec<Arc<T>>) {
        let mut things = self.lock();
        for _ in 0..most {
            let Some(first) = things.first_entry().filter(|first| first.key().0 <= until) else { break };
            let thing = first.remove();
            (self.filed)(&thing).set(None);
            into.push(thing);
        }
        drop(things);
        fence(Ordering::SeqCst);
    }
}

/// Tells things of one moment apart; nothing else has the address while the agenda holds the thing.
fn address<T>(thing: &Arc<T>) -> usize {
    Arc::as_ptr(thing).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default)]
    struct Thing {
        name: usize,
        filed: Filed,
    }

    #[derive(Debug, Clone)]
    enum Op {
        File { thing: usize, in_ms: u64 },
        Pass { ms: u64, most: usize },
        Pop,
        Remove(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..8usize, 0..50u64).prop_map(|(thing, in_ms)| Op::File { thing, in_ms }),
            3 => (0..20u64, 0..5usize).prop_map(|(ms, most)| Op::Pass { ms, most }),
            1 => Just(Op::Pop),
            1 => (0..8usize).prop_map(Op::Remove),
        ]
    }

    proptest! {
        /// The model keeps the moment of each thing. Nothing comes early or twice, nothing that is due stays, and
        /// a moment that was moved forward is the one that counts.
        #[test]
        fn an_agenda_gives_back_what_is_due_and_nothing_else(
            ops in proptest::collection::vec(op(), 0..200),
        ) {
            let agenda = Agenda::new(|thing: &Thing| &thing.filed);
            let things: Vec<_> = (0..8).map(|name| Arc::new(Thing { name, ..Thing::default() })).collect();
            let mut model: [Option<u64>; 8] = [None; 8];
            let mut now = 0;
            for op in ops {
                match op {
                    Op::File { thing, in_ms } => {
                        agenda.file(&things[thing], Uptime::from_ms(now + in_ms));
                        model[thing] = Some(model[thing].unwrap_or(u64::MAX).min(now + in_ms));
                    }
                    Op::Remove(thing) => {
                        agenda.remove(&things[thing]);
                        model[thing] = None;
                    }
                    Op::Pop => {
                        let popped = agenda.pop_until(Uptime::from_ms(now)).map(|(at, thing)| {
                            (at.as_ms(), model[thing.name].take())
                        });
                        match popped {
                            Some((at, expected)) => {
                                prop_assert_eq!(Some(at), expected);
                                prop_assert!(at <= now && model.iter().flatten().all(|&other| other >= at));
                            }
                            None => prop_assert!(model.iter().flatten().all(|&at| at > now)),
                        }
                    }
                    Op::Pass { ms, most } => {
                        now += ms;
                        let mut due = Vec::new();
                        agenda.take_until(Uptime::from_ms(now), most, &mut due);
                        let mut last = 0;
                        for thing in &due {
                            let at = model[thing.name].take();
                            prop_assert!(at.is_some_and(|at| last <= at && at <= now), "{at:?} at {now}");
                            last = at.unwrap_or_default();
                        }
                        let is_all = model.iter().flatten().all(|&at| at > now);
                        prop_assert!(is_all || due.len() == most);
                    }
                }
                for (thing, at) in things.iter().zip(&model) {
                    prop_assert_eq!(thing.filed.at().map(Uptime::as_ms), *at);
                }
                prop_assert_eq!(agenda.lock().len(), model.iter().flatten().count());
            }
        }
    }
}
