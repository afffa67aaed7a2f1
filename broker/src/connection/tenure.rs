//! For how long a connection may go on as it is: until its grant ends, or until it is to have said who it is. Pure.
//!
//! It is looked at now and then, so what is due is done at the next look. Whoever has no end costs a comparison.

use std::time::Duration;

use crate::access::config::EXPIRY_NOTICE;
use crate::clock::Uptime;
use crate::config::Config;

/// Milliseconds of a tick, in which moments are kept: in 32 bits that is more than eight years.
const TICK_MS: u64 = 64;
/// Looks at a connection whose time is over at which something that it said is still waited for, at most.
const LOOKS_MAX: u8 = 5;

/// What the operator allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The time in which somebody who may do nothing is to say who it is.
    pub(super) auth_timeout: Duration,
    /// How long before its grant ends a peer is told, unless that is more than half of the time that is left.
    pub(super) expiry_notice: Duration,
}

impl Terms {
    /// The terms of that configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let access = config.access.as_ref();
        Self {
            auth_timeout: config.limits.auth_timeout,
            expiry_notice: access.map_or(EXPIRY_NOTICE, |access| access.expiry_notice),
        }
    }
}

/// The end that is to come, and what comes before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenure {
    /// The tick from which on something is to be done: as bytes it fits where a `u32` would not.
    due: [u8; 4],
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It has no end.
    Nothing,
    /// It is to have said who it is.
    Introduction,
    /// It is to be told that its grant ends.
    Notice,
    /// Its grant ends.
    End,
    /// Its time is over; so many more looks may find that something it has said is not heard yet.
    LastWord(u8),
}

/// What is to be done at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It is to be told that its grant ends.
    Notice,
    /// What it has said is to be heard before it is judged.
    Hearing,
    /// It is to be closed, for that reason.
    Close(&'static str),
}

impl Tenure {
    /// The tenure from `now` on of somebody whose grant has that `end`, if any; `is_nobody` where it has yet to say who it is.
    pub(super) fn new(end: Option<Uptime>, is_nobody: bool, now: Uptime, terms: Terms) -> Self {
        match end {
            Some(end) => {
                let notice = terms.expiry_notice.min(end.since(now) / 2);
                let notice_ms = u64::try_from(notice.as_millis()).unwrap_or(u64::MAX);
                Self::at(Uptime::from_ms(end.as_ms().saturating_sub(notice_ms)), Next::Notice)
            }
            None if is_nobody => Self::at(now.plus(terms.auth_timeout), Next::Introduction),
            None => Self { due: u32::MAX.to_ne_bytes(), next: Next::Nothing },
        }
    }

    /// Never before that moment.
    fn at(moment: Uptime, next: Next) -> Self {
        let tick = u32::try_from(moment.as_ms().div_ceil(TICK_MS)).unwrap_or(u32::MAX);
        Self { due: tick.to_ne_bytes(), next }
    }

    /// Nobody was heard until `now`: whoever has yet to say who it is has the time for that anew.
    pub(super) fn excuse(&mut self, now: Uptime, terms: Terms) {
        if self.next == Next::Introduction {
            *self = Self::at(now.plus(terms.auth_timeout), Next::Introduction);
        }
    }

    /// What is due `now` for somebody whose grant has that `end`; `is_unheard` says whether it has said something that nobody has
    /// listened to yet, which may be new credentials. Neither is asked before something is due.
    pub(super) fn look(
        &mut self,
        now: Uptime,
        end: impl FnOnce() -> Option<Uptime>,
        is_unheard: impl FnOnce() -> bool,
    ) -> Due {
        if now.as_ms() / TICK_MS < u64::from(u32::from_ne_bytes(self.due)) {
            return Due::Nothing;
        }
        let end = end();
        match (self.next, end) {
            (Next::Nothing, _) => Due::Nothing,
            (Next::Notice, Some(end)) if now < end => {
                *self = Self::at(end, Next::End);
                Due::Notice
            }
            (Next::Introduction | Next::Notice | Next::End, _) => self.last_word(LOOKS_MAX, end, is_unheard),
            (Next::LastWord(looks), _) => self.last_word(looks, end, is_unheard),
        }
    }

    fn last_word(&mut self, looks: u8, end: Option<Uptime>, is_unheard: impl FnOnce() -> bool) -> Due {
        if looks > 0 && is_unheard() {
            self.next = Next::LastWord(looks - 1);
            return Due::Hearing;
        }
        Due::Close(match end {
            Some(_) => "the credentials have expired",
            None => "no credentials came in time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms =
        Terms { auth_timeout: Duration::from_secs(10), expiry_notice: Duration::from_secs(30) };

    fn at(seconds: u64) -> Uptime {
        Uptime::from_ms(1000 * seconds)
    }

    /// One whose grant ends then, in seconds, or nobody.
    fn tenure(end: Option<u64>, begin: u64) -> Tenure {
        Tenure::new(end.map(at), end.is_none(), at(begin), TERMS)
    }

    fn look(tenure: &mut Tenure, second: u64, end: Option<u64>, is_unheard: bool) -> Due {
        tenure.look(at(second), || end.map(at), || is_unheard)
    }

    /// The seconds from `begin` at which something is due, looked at each second by whoever says nothing.
    fn dues(end: Option<u64>, begin: u64) -> Vec<(u64, Due)> {
        let mut tenure = tenure(end, begin);
        let mut dues = Vec::new();
        for second in begin..begin + 5000 {
            let due = look(&mut tenure, second, end, false);
            if due != Due::Nothing {
                dues.push((second, due));
            }
            if matches!(due, Due::Close(_)) {
                break;
            }
        }
        dues
    }

    #[test]
    fn whoever_has_a_grant_for_a_while_is_told_before_it_ends_and_then_closed() {
        for (begin, end, told) in [
            (0, 100, 70),
            (1000, 4600, 4570),
            // Half of what is left, where that is less.
            (100, 140, 120),
            (100, 104, 102),
        ] {
            let dues = dues(Some(end), begin);
            let [(second, notice), (closed, Due::Close(why))] = dues[..] else { panic!("{dues:?}") };
            assert!((told..=told + 1).contains(&second), "{second} for {told}");
            assert_eq!(notice, Due::Notice);
            assert!((end..=end + 1).contains(&closed) && why.contains("expired"), "{closed} for {end}");
        }
    }

    #[test]
    fn a_grant_that_has_ended_already_is_not_told_of() {
        let closed = dues(Some(50), 50);
        assert!(matches!(closed[..], [(50..=51, Due::Close(_))]), "{closed:?}");
        // Nobody looked while it ended.
        let mut tenure = tenure(Some(100), 0);
        assert!(matches!(look(&mut tenure, 9000, Some(100), false), Due::Close(_)));
    }

    #[test]
    fn whoever_may_do_nothing_is_to_say_who_it_is_in_time() {
        let dues = dues(None, 5);
        let [(second, Due::Close(why))] = dues[..] else { panic!("{dues:?}") };
        assert!((15..=16).contains(&second) && why.contains("no credentials"), "{second}: {why}");
        // The worker did not run, so nobody could be heard.
        let mut tenure = tenure(None, 0);
        tenure.excuse(at(100), TERMS);
        assert_eq!(look(&mut tenure, 109, None, false), Due::Nothing);
        assert!(matches!(look(&mut tenure, 111, None, false), Due::Close(_)));
    }

    #[test]
    fn where_there_is_no_end_nothing_is_due_and_nothing_is_asked() {
        let mut tenure = Tenure::new(None, false, at(0), TERMS);
        tenure.excuse(at(5), TERMS);
        let year = at(366 * 24 * 3600);
        assert_eq!(tenure.look(year, || unreachable!(), || unreachable!()), Due::Nothing);
        assert_eq!(tenure.look(Uptime::from_ms(u64::MAX), || None, || unreachable!()), Due::Nothing);
    }

    #[test]
    fn a_worker_that_did_not_run_gives_no_grant_more_time() {
        let mut tenure = tenure(Some(100), 0);
        tenure.excuse(at(150), TERMS);
        assert!(matches!(look(&mut tenure, 150, Some(100), false), Due::Close(_)));
    }

    #[test]
    fn what_is_unheard_is_heard_first_but_nobody_lives_on_by_talking() {
        for end in [Some(100), None] {
            let mut talker = tenure(end, 0);
            let looks = (200..).map(|second| look(&mut talker, second, end, true));
            let heard = looks.take_while(|due| *due == Due::Hearing).count();
            assert_eq!(heard, usize::from(LOOKS_MAX));
            let mut quiet = tenure(end, 0);
            assert_eq!(look(&mut quiet, 200, end, true), Due::Hearing);
            assert!(matches!(look(&mut quiet, 201, end, false), Due::Close(_)), "that was all");
        }
    }

    #[test]
    fn an_end_in_many_years_is_no_end_now() {
        let mut far = Tenure::new(Some(Uptime::from_ms(u64::MAX)), false, at(0), TERMS);
        assert_eq!(far.look(at(366 * 24 * 3600), || unreachable!(), || unreachable!()), Due::Nothing);
    }
}
