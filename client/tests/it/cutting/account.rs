//! What one subscription was told, checked as it comes: nothing twice, nothing out of order, and no hole of which
//! nobody spoke.

use fanfare_client::{Epoch, Event, Gap, Offset, Position, Publication};

use super::record::{Found, Record, Word};

#[derive(Debug)]
pub(crate) struct Account {
    who: String,
    /// Everything up to here was delivered, or said to be missed.
    at: Position,
    /// Up to here nothing may be missed: it was recovered.
    promised: Position,
    /// The number of the client whose words are not delivered, with `echo(false)`.
    own: Option<u32>,
    /// Whether the reader is slow, so that what was recovered may be too much for it.
    pub(crate) is_slow: bool,
    pub(crate) found: Vec<Found>,
    /// Where nothing was delivered because, it seems, it was its own.
    passed_over: Vec<Position>,
    /// How many are missing, and were said to.
    pub(crate) missed: u64,
    /// How often the subscription came back with everything, and how often to another epoch.
    pub(crate) recovered: u64,
    pub(crate) renewed: u64,
}

impl Account {
    pub(crate) fn new(who: impl Into<String>, begin: Position) -> Self {
        Self {
            who: who.into(),
            at: begin,
            promised: begin,
            own: None,
            is_slow: false,
            found: Vec::new(),
            passed_over: Vec::new(),
            missed: 0,
            recovered: 0,
            renewed: 0,
        }
    }

    pub(crate) fn without(mut self, own: u32) -> Self {
        self.own = Some(own);
        self
    }

    pub(crate) fn of_a_slow_reader(mut self) -> Self {
        self.is_slow = true;
        self
    }

    /// Whether it has had everything up to there, or that epoch is over.
    pub(crate) fn is_past(&self, position: Position) -> bool {
        let is_there = self.at.epoch == position.epoch && self.at.offset >= position.offset;
        is_there || self.renewed > 0
    }

    /// Takes the next event; returns the word, if it is one.
    pub(crate) fn hear(&mut self, event: &Event) -> Result<Option<Word>, String> {
        let heard = match event {
            Event::Publication(publication) => self.publication(publication).map(Some),
            Event::Gap(gap) => self.gap(gap).map(|()| None),
            &Event::Resubscribed { recovered: true, position, missed } => {
                self.recovered(position, missed).map(|()| None)
            }
            &Event::Resubscribed { recovered: false, position, missed } => {
                self.lost(position, missed).map(|()| None)
            }
            _ => Err("nobody ended it".to_owned()),
        };
        heard.map_err(|wrong| format!("{wrong}: {event:?}, to {self}"))
    }

    fn publication(&mut self, publication: &Publication) -> Result<Word, String> {
        let found = Found::new(publication)?;
        let (word, position) = (found.word, found.position);
        if self.own == Some(word.publisher) {
            return Err("its own".to_owned());
        }
        if position.epoch != self.at.epoch {
            return Err("an epoch of which nothing was said".to_owned());
        }
        if position.offset <= self.at.offset {
            return Err("twice, or out of order".to_owned());
        }
        self.pass_over(position.offset)?;
        self.at = position;
        self.found.push(found);
        Ok(word)
    }

    /// There is nothing between where it is and `next`.
    fn pass_over(&mut self, next: Offset) -> Result<(), String> {
        let Position { epoch, offset } = self.at;
        let between = offset.get() + 1..next.get();
        if self.own.is_none() && !between.is_empty() {
            return Err(format!("nothing was said of {between:?}"));
        }
        self.passed_over.extend(between.map(|offset| Position { epoch, offset: Offset::new(offset) }));
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), String> {
        let is_promised = gap.epoch == self.promised.epoch && gap.from <= self.promised.offset;
        if is_promised && !self.is_slow {
            return Err("that had been recovered".to_owned());
        }
        if let Some(missed) = gap.missed {
            if gap.epoch != self.at.epoch || gap.from <= self.at.offset {
                return Err("that is not missing".to_owned());
            }
            self.pass_over(gap.from)?;
            if gap.to.get() - gap.from.get() + 1 != missed {
                return Err("it does not add up".to_owned());
            }
        }
        self.missing(gap.position(), gap.missed)
    }

    fn recovered(&mut self, position: Position, missed: Option<u64>) -> Result<(), String> {
        if position.epoch != self.at.epoch || position.offset < self.at.offset || missed != Some(0) {
            return Err("that is no recovery".to_owned());
        }
        self.promised = position;
        self.recovered += 1;
        Ok(())
    }

    fn lost(&mut self, position: Position, missed: Option<u64>) -> Result<(), String> {
        if missed.is_some_and(|missed| position.offset.get() != self.at.offset.get() + missed) {
            return Err("it does not add up".to_owned());
        }
        self.missing(position, missed)
    }

    /// Everything up to `to` is missing, and counted unless the epoch is another one.
    fn missing(&mut self, to: Position, missed: Option<u64>) -> Result<(), String> {
        if missed.is_some() != (to.epoch == self.at.epoch) {
            return Err("what is missing is counted within an epoch, and nowhere else".to_owned());
        }
        self.renewed += u64::from(missed.is_none());
        self.missed += missed.unwrap_or_default();
        self.at = to;
        Ok(())
    }

    /// What it was not given was its own. What nobody found where a broker died cannot be told.
    pub(crate) fn check_passed_over(&self, record: &Record, living: Epoch) -> Result<(), String> {
        let is_own = |position: &&Position| match record.at(**position) {
            Some(found) => self.own == Some(found.word.publisher),
            None => position.epoch != living,
        };
        match self.passed_over.iter().find(|position| !is_own(position)) {
            Some(position) => Err(format!("nothing was said of {:?}, to {self}", record.at(*position))),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { who, at, promised, .. } = self;
        write!(f, "{who}, who is at {at} with all up to {promised} promised")
    }
}
