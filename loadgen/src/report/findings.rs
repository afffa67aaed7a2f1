//! What was found, by the kind of scenario: each has what it measures, and nothing else can be said of it.

use super::Report;
use super::deliveries::Deliveries;
use super::sections::{Beside, Connects, FindMax, Idle, Ingest, Neighbour, Pings, Resume, Strangers, Stuck};

/// What a run has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Findings {
    /// Publications by a schedule, to everybody who subscribes: scenarios `fanout`, `rooms` and `mesh`.
    Steady(Deliveries),
    /// Publications by a schedule at the highest rate: `--find-max`.
    FindMax(Deliveries, FindMax),
    /// What connections cost that do nothing, and the burst that went to them: scenario `idle`.
    Idle(Deliveries, Idle),
    /// Subscribers that were cut off and came back: scenario `resume`.
    Resume(Deliveries, Resume),
    /// Subscribers that read nothing, and the deliveries of the others: scenario `stuck`.
    Stuck(Deliveries, Stuck),
    /// Deliveries beside an attack: scenario `beside`.
    Beside(Deliveries, Beside),
    /// Connections that came and left: scenario `connect`.
    Connect(Connects),
    /// Publications as fast as they are acknowledged: scenario `ingest`.
    Ingest(Ingest),
    /// A quiet connection beside publishers without pause: scenario `neighbour`.
    Neighbour(Neighbour),
    /// Pings of quiet connections: scenario `ping`.
    Ping(Pings),
    /// Connections that may do nothing: scenario `strangers`.
    Strangers(Strangers),
}

/// A part of the findings, where there is one.
impl Report {
    /// What came of publications by a schedule.
    pub fn deliveries(&self) -> Option<&Deliveries> {
        match &self.findings {
            Findings::Steady(deliveries)
            | Findings::FindMax(deliveries, _)
            | Findings::Idle(deliveries, _)
            | Findings::Resume(deliveries, _)
            | Findings::Stuck(deliveries, _)
            | Findings::Beside(deliveries, _) => Some(deliveries),
            Findings::Connect(_)
            | Findings::Ingest(_)
            | Findings::Neighbour(_)
            | Findings::Ping(_)
            | Findings::Strangers(_) => None,
        }
    }

    /// The rates that were tried.
    pub fn find_max(&self) -> Option<&FindMax> {
        if let Findings::FindMax(_, it) = &self.findings { Some(it) } else { None }
    }

    /// What connections cost that do nothing.
    pub fn idle(&self) -> Option<&Idle> {
        if let Findings::Idle(_, it) = &self.findings { Some(it) } else { None }
    }

    /// Subscribers that were cut off and came back.
    pub fn resume(&self) -> Option<&Resume> {
        if let Findings::Resume(_, it) = &self.findings { Some(it) } else { None }
    }

    /// Subscribers that read nothing.
    pub fn stuck(&self) -> Option<&Stuck> {
        if let Findings::Stuck(_, it) = &self.findings { Some(it) } else { None }
    }

    /// An attack, and what was without it.
    pub fn beside(&self) -> Option<&Beside> {
        if let Findings::Beside(_, it) = &self.findings { Some(it) } else { None }
    }

    /// Connections that came and left.
    pub fn connects(&self) -> Option<&Connects> {
        if let Findings::Connect(it) = &self.findings { Some(it) } else { None }
    }

    /// Publications as fast as they are acknowledged.
    pub fn ingest(&self) -> Option<&Ingest> {
        if let Findings::Ingest(it) = &self.findings { Some(it) } else { None }
    }

    /// A quiet connection beside publishers without pause.
    pub fn neighbour(&self) -> Option<&Neighbour> {
        if let Findings::Neighbour(it) = &self.findings { Some(it) } else { None }
    }

    /// Pings of quiet connections.
    pub fn pings(&self) -> Option<&Pings> {
        if let Findings::Ping(it) = &self.findings { Some(it) } else { None }
    }

    /// Connections that may do nothing.
    pub fn strangers(&self) -> Option<&Strangers> {
        if let Findings::Strangers(it) = &self.findings { Some(it) } else { None }
    }
}
