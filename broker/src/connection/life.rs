//! How far a connection's life has come, and why it ends. Pure.
//!
//! Invariant: only this file changes a phase, and no phase leads back to an earlier one.

use std::rc::Rc;

use fanfare_protocol::CloseCode;

/// A connection's life. Times are the worker's milliseconds, which wrap.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    /// Why it ended, for the metrics.
    reason: &'static str,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What its topics have is still delivered, then it is closed.
    Draining {
        until: u32,
        code: CloseCode,
        reason: Rc<str>,
    },
    /// A close frame is the last thing that waits.
    Closing {
        until: u32,
        /// The peer closed first: nothing more comes from it.
        by_peer: bool,
    },
    /// Everything is written; the peer has yet to close its side, or else what it has not read might be
    /// thrown away.
    Lingering {
        until: u32,
    },
    Gone,
}

impl Life {
    /// One that has just begun.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Open, reason: "lost" }
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
            Phase::Draining { code, .. } => *code == CloseCode::SERVICE_RESTART,
            Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Gone => false,
        }
    }

    /// Whether it still gets what its topics have.
    pub(super) fn is_delivering(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Until when it may take its time to end; `None` while it is open and when it is gone.
    pub(super) fn ends_by(&self) -> Option<u32> {
        match self.phase {
            Phase::Draining { until, .. } | Phase::Closing { until, .. } | Phase::Lingering { until } => {
                Some(until)
            }
            Phase::Open | Phase::Gone => None,
        }
    }

    /// It is closed with that code once it has what its topics have.
    pub(super) fn drain(&mut self, until: u32, code: CloseCode, reason: Rc<str>) {
        self.phase = Phase::Draining { until, code, reason };
    }

    /// The close frame waits to be written.
    pub(super) fn close(&mut self, until: u32, by_peer: bool, reason: &'static str) {
        self.phase = Phase::Closing { until, by_peer };
        self.reason = reason;
    }

    /// The close frame is written.
    pub(super) fn linger(&mut self, until: u32) {
        self.phase = Phase::Lingering { until };
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Gone;
    }

    /// Why it ended, as a label of the metrics.
    pub(super) fn reason(&self) -> &'static str {
        self.reason
    }
}
