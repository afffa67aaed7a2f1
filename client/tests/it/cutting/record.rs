//! What stands where in a topic, as found by all who looked.

use std::collections::{BTreeMap, HashMap, HashSet};

use fanfare_client::{Epoch, Payload, Position, Publication, Published};

/// What is published: each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Word {
    pub(crate) publisher: u32,
    /// Counts the publisher's words.
    pub(crate) number: u64,
}

impl Word {
    /// Most are short, and some longer than the short form of a frame's length can say.
    pub(crate) fn payload(self) -> Payload {
        let padding = if self.number.is_multiple_of(200) { 2_000 } else { 0 };
        Payload::text(format!("{} {} {:padding$}", self.publisher, self.number, ""))
    }

    fn of(publication: &Publication) -> Option<Self> {
        let mut parts = publication.text()?.split(' ');
        Some(Self { publisher: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? })
    }
}

/// A word and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) position: Position,
    pub(crate) word: Word,
    message_id: String,
    time_ms: u64,
}

impl Found {
    pub(crate) fn new(publication: &Publication) -> Result<Self, String> {
        let Publication { position, time_ms, .. } = *publication;
        match (Word::of(publication), publication.message_id.clone()) {
            (Some(word), Some(message_id)) => Ok(Self { position, word, message_id, time_ms }),
            _ => Err(format!("nobody published that: {publication:?}")),
        }
    }
}

/// A word that the broker acknowledged.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) word: Word,
    pub(crate) message_id: String,
    pub(crate) published: Published,
}

/// One topic's.
#[derive(Default)]
pub(crate) struct Record {
    places: BTreeMap<(Epoch, u64), Found>,
}

impl Record {
    /// Adds what somebody found; all must have found the same.
    pub(crate) fn add(&mut self, found: Found) -> Result<(), String> {
        let Position { epoch, offset } = found.position;
        let there = self.places.entry((epoch, offset.get())).or_insert_with(|| found.clone());
        if *there == found { Ok(()) } else { Err(format!("one place, two tales: {there:?}, {found:?}")) }
    }

    pub(crate) fn at(&self, position: Position) -> Option<&Found> {
        self.places.get(&(position.epoch, position.offset.get()))
    }

    /// How many were found in an epoch.
    pub(crate) fn count(&self, epoch: Epoch) -> usize {
        self.places.range((epoch, 0)..=(epoch, u64::MAX)).count()
    }

    /// In each epoch every word and every id stands once, and each publisher's words in the order in which they were
    /// published.
    pub(crate) fn check_order(&self) -> Result<(), String> {
        let (mut latest, mut ids) = (HashMap::new(), HashSet::new());
        for (&(epoch, _), found) in &self.places {
            if let Some(before) = latest.insert((epoch, found.word.publisher), found)
                && before.word.number >= found.word.number
            {
                return Err(format!("in disorder, or twice: {before:?}, {found:?}"));
            }
            if !ids.insert((epoch, &found.message_id)) {
                return Err(format!("an id that is there twice: {found:?}"));
            }
        }
        Ok(())
    }

    /// Each ack's word stands where the ack says, and was not stored again after that. What stood last in an epoch that
    /// died with its broker nobody may have found; `living` is the one of which everything is known.
    pub(crate) fn check_acks(&self, acks: &[&Ack], living: Epoch) -> Result<(), String> {
        let mut newest = HashMap::<_, &Found>::new();
        for found in self.places.values() {
            let newest = newest.entry(found.word).or_insert(found);
            if found.time_ms > newest.time_ms {
                *newest = found;
            }
        }
        let mut acknowledged = HashMap::new();
        for &ack in acks {
            let position = ack.published.position;
            let is_there = match self.at(position) {
                Some(found) => (found.word, &found.message_id) == (ack.word, &ack.message_id),
                None => position.epoch != living,
            };
            let stored_last = newest.get(&ack.word).is_none_or(|found| {
                found.position == position || self.at(position).is_none() && found.position.epoch != living
            });
            if !is_there || !stored_last {
                let (there, newest) = (self.at(position), newest.get(&ack.word));
                return Err(format!("{ack:?}, but there stands {there:?}; it was stored at {newest:?}"));
            }
            if let Some(other) = acknowledged.insert((position.epoch, position.offset.get()), ack) {
                return Err(format!("two acks for one place: {other:?}, {ack:?}"));
            }
        }
        // And nothing stands there that nobody was promised.
        let words: HashSet<_> = acknowledged.values().map(|ack| ack.word).collect();
        match self.places.values().find(|found| !words.contains(&found.word)) {
            Some(found) => Err(format!("without an ack: {found:?}")),
            None => Ok(()),
        }
    }
}
