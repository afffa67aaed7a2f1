//! How far a connection's life has come, and why it ends. Pure.
//!
//! Invariant: only this file changes a phase, and no phase leads back to an earlier one.

use std::rc::Rc;

use fanfare_protocol::CloseCode;

/// A connection's life. Times are the worker's milliseconds, which wrap.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    /// The code with which it was closed, and whether its peer closed it; `None` where it was not.
    closed: Option<(CloseCode, bool)>,
}

/// A phase of a life, in the order in which they follow each other. Some may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The connection talks and is delivered to.
    Open,
    /// What its topics have is still delivered, then it is closed.
    Draining(Rc<Drain>),
    /// A close frame is the last thing that waits.
    Closing {
        until: u32,
        /// The peer closed first: nothing more comes from it.
        by_peer: bool,
    },
    /// Everything is written; the peer has yet to close its side, or else what it has not read might be
    /// thrown away.
    Lingering { until: u32 },
    /// Nothing is left of it but its task, which ends.
    Gone,
}

/// How a connection ends that drains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drain {
    until: u32,
    pub(super) code: CloseCode,
    /// For people.
    pub(super) reason: Box<str>,
}

impl Phase {
    /// How far a life in this phase has come: it only grows.
    fn order(&self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Draining(_) => 1,
            Self::Closing { .. } => 2,
            Self::Lingering { .. } => 3,
            Self::Gone => 4,
        }
    }
}

impl Life {
    /// A life that has just begun. Whoever ends without having been closed was lost.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Open, closed: None }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether what the peer sends still counts.
    pub(super) fn is_listening(&self) -> bool {
        match &self.phase {
            Phase::Open => true,
            // Who broke the rules has said enough.
            Phase::Draining(drain) => drain.code == CloseCode::SERVICE_RESTART,
            Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Gone => false,
        }
    }

    /// Whether it still gets what its topics have.
    pub(super) fn is_delivering(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining(_))
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    /// Whether it has begun to end and has had the time for that.
    pub(super) fn has_had_its_time(&self, now: u32) -> bool {
        let until = match &self.phase {
            Phase::Draining(drain) => drain.until,
            Phase::Closing { until, .. } | Phase::Lingering { until } => *until,
            Phase::Open | Phase::Gone => return false,
        };
        now.wrapping_sub(until) < u32::MAX / 2
    }

    /// Has it closed with that code once it has what its topics have. Whoever drains already may get another
    /// code.
    pub(super) fn drain(&mut self, until: u32, code: CloseCode, reason: Box<str>) {
        self.enter(Phase::Draining(Rc::new(Drain { until, code, reason })));
    }

    /// Its close frame waits to be written. The first `code` is the one that is told.
    pub(super) fn close(&mut self, until: u32, by_peer: bool, code: CloseCode) {
        if self.is_delivering() {
            self.closed = Some((code, by_peer));
        }
        self.enter(Phase::Closing { until, by_peer });
    }

    /// Its close frame is written.
    pub(super) fn linger(&mut self, until: u32) {
        self.enter(Phase::Lingering { until });
    }

    /// Its life is over.
    pub(super) fn end(&mut self) {
        self.enter(Phase::Gone);
    }

    /// Goes on to a phase; a life that has come further stays where it is.
    fn enter(&mut self, phase: Phase) {
        if phase.order() >= self.phase.order() {
            self.phase = phase;
        }
    }

    /// Why it ended, as a label of the metrics.
    pub(super) fn reason(&self) -> &'static str {
        self.closed.map_or("lost", |(code, by_peer)| reason_of(code, by_peer))
    }
}

/// The label that the metrics have for a close code: the protocol's codes are too many for labels of their own.
pub(super) fn reason_of(code: CloseCode, by_peer: bool) -> &'static str {
    match code {
        _ if by_peer => "peer",
        CloseCode::PROTOCOL_ERROR => "protocol_error",
        CloseCode::UNSUPPORTED => "unsupported",
        CloseCode::INVALID_UTF8 => "invalid_utf8",
        CloseCode::TOO_LARGE => "too_large",
        CloseCode::SERVICE_RESTART => "drain",
        CloseCode::BAD_FRAME => "bad_frame",
        CloseCode::UNAUTHORIZED | CloseCode::FORBIDDEN => "auth",
        CloseCode::TIMEOUT => "timeout",
        CloseCode::RATE_LIMITED => "rate_limited",
        CloseCode::TOO_SLOW => "slow_consumer",
        CloseCode::UNAVAILABLE => "unavailable",
        CloseCode::TRY_AGAIN_LATER => "overload",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(life: &mut Life, code: CloseCode) {
        life.drain(10, code, "why".into());
    }

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Drain,
        Close(bool),
        Linger,
        End,
    }

    proptest! {
        #[test]
        fn no_phase_leads_back(ops in prop::collection::vec(
            prop_oneof![Just(Op::Drain), any::<bool>().prop_map(Op::Close), Just(Op::Linger), Just(Op::End)],
            0..10,
        )) {
            let mut life = Life::new();
            for op in ops {
                let before = (life.phase().order(), life.is_listening(), life.is_delivering());
                let reason = life.reason();
                match op {
                    Op::Drain => drain(&mut life, CloseCode::PROTOCOL_ERROR),
                    Op::Close(by_peer) => life.close(20, by_peer, CloseCode::NORMAL),
                    Op::Linger => life.linger(20),
                    Op::End => life.end(),
                }
                prop_assert!(life.phase().order() >= before.0, "{op:?}");
                prop_assert!(before.1 || !life.is_listening(), "who has said enough is not listened to again");
                prop_assert!(before.2 || !life.is_delivering());
                prop_assert!(before.2 || life.reason() == reason, "why it ends is known from the close on");
                prop_assert!(life.is_listening() <= life.is_delivering());
            }
        }
    }

    #[test]
    fn a_life_that_nobody_closed_was_lost() {
        let mut life = Life::new();
        assert!(life.is_open() && life.is_listening() && life.is_delivering());
        life.end();
        assert!(life.is_gone() && !life.is_open());
        assert_eq!(life.reason(), "lost");
        life.close(10, false, CloseCode::TIMEOUT);
        assert!(life.is_gone(), "there is no way back");
        assert_eq!(life.reason(), "lost");
    }

    #[test]
    fn while_the_broker_stops_a_peer_is_listened_to_and_one_that_broke_the_rules_is_not() {
        let (mut stopping, mut broken) = (Life::new(), Life::new());
        drain(&mut stopping, CloseCode::SERVICE_RESTART);
        drain(&mut broken, CloseCode::PROTOCOL_ERROR);
        assert!(stopping.is_draining() && stopping.is_listening());
        assert!(broken.is_draining() && broken.is_delivering() && !broken.is_listening());
        drain(&mut stopping, CloseCode::PROTOCOL_ERROR);
        assert!(!stopping.is_listening(), "it breaks them meanwhile");
    }

    #[test]
    fn only_an_ending_has_a_time_limit_also_where_the_clock_wraps() {
        let mut life = Life::new();
        assert!(!life.has_had_its_time(1_000_000));
        life.close(5, false, CloseCode::NORMAL);
        assert!(!life.has_had_its_time(u32::MAX - 5) && !life.has_had_its_time(4));
        assert!(life.has_had_its_time(5) && life.has_had_its_time(6));
        life.end();
        assert!(!life.has_had_its_time(6), "it is over, and needs nobody to end it");
    }
}
