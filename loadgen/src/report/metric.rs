//! What a metric is: a figure of a report, with all that anybody has to know of it.

use super::deliveries::Deliveries;
use super::quantiles::Quantiles;
use super::row::Row;
use super::sections::{Beside, Connects, FindMax, Idle, Ingest, Neighbour, Pings, Resume, Strangers, Stuck};
use super::unit::Unit;
use super::usage::{OwnUsage, ServerUsage};
use super::{Report, remarks};

/// A figure of a report. All that there are stand in [`METRICS`](super::metrics::METRICS).
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    name: &'static str,
    key: &'static str,
    unit: Unit,
    better: Better,
    source: Source,
    row: Option<InText>,
    heading: Option<Heading>,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The smaller one.
    Less,
    /// The larger one.
    More,
    /// Neither: it says what the others are to be held against.
    Neither,
}

/// Which part of a report has a metric, and how it is read there.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Deliveries by a schedule.
    Deliveries(fn(&Deliveries) -> f64),
    /// The latency of these, if there were any.
    Latency(fn(&Quantiles) -> f64),
    /// How late they were sent, if any was.
    SentLate(fn(&Quantiles) -> f64),
    /// The load generator.
    Own(fn(&OwnUsage) -> Option<f64>),
    /// The server, where its process is known.
    Server(fn(&ServerUsage) -> f64),
    /// The server, for each delivery. Who is behind pays less.
    PerDelivery(fn(&ServerUsage) -> Option<f64>),
    /// The highest rate.
    FindMax(fn(&FindMax) -> Option<f64>),
    /// The scenario `idle`.
    Idle(fn(&Idle) -> f64),
    /// The scenario `resume`.
    Resume(fn(&Resume) -> Option<f64>),
    /// The scenario `stuck`.
    Stuck(fn(&Stuck) -> Option<f64>),
    /// The scenario `beside`.
    Beside(fn(&Beside) -> Option<f64>),
    /// The scenario `connect`.
    Connect(fn(&Connects) -> Option<f64>),
    /// The scenario `ingest`.
    Ingest(fn(&Ingest) -> Option<f64>),
    /// The scenario `neighbour`.
    Neighbour(fn(&Neighbour) -> Option<f64>),
    /// The scenario `ping`.
    Ping(fn(&Pings) -> Option<f64>),
    /// The scenario `strangers`.
    Strangers(fn(&Strangers) -> Option<f64>),
}

/// A part of the table for people, which stands apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Deliveries,
    Latency,
    Scenario,
    Usage,
}

/// How a metric stands in the table for people.
#[derive(Debug, Clone, Copy)]
struct InText {
    label: &'static str,
    show: Option<fn(f64) -> String>,
    /// What is to be said about it, with figures that have no row of their own.
    remark: fn(&Report) -> String,
}

/// How a metric stands in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// What stands above its column.
    pub text: &'static str,
    /// Its place among those of the same report: the least says most.
    pub place: u8,
    /// Whether it is said how many times as much it is as the first one's.
    pub is_relative: bool,
}

impl Metric {
    pub(super) const fn new(
        name: &'static str,
        key: &'static str,
        unit: Unit,
        better: Better,
        source: Source,
    ) -> Self {
        Self { name, key, unit, better, source, row: None, heading: None }
    }

    /// The metric with a row of its own.
    pub(super) const fn row(self, label: &'static str) -> Self {
        self.row_with(label, remarks::nothing)
    }

    /// The metric with a row of its own in which there is more.
    pub(super) const fn row_with(mut self, label: &'static str, remark: fn(&Report) -> String) -> Self {
        self.row = Some(InText { label, show: None, remark });
        self
    }

    /// The metric with another way to write it in its row.
    pub(super) const fn shown(mut self, show: fn(f64) -> String) -> Self {
        if let Some(InText { label, remark, .. }) = self.row {
            self.row = Some(InText { label, show: Some(show), remark });
        }
        self
    }

    /// The metric with a column in comparisons.
    pub(super) const fn heading(mut self, place: u8, text: &'static str) -> Self {
        self.heading = Some(Heading { text, place, is_relative: false });
        self
    }

    /// The metric with a column that is held against the first contender's.
    pub(super) const fn relative(mut self, place: u8, text: &'static str) -> Self {
        self.heading = Some(Heading { text, place, is_relative: true });
        self
    }

    /// Its name for `--assert`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it stands in the JSON: keys with dots between them. A `*` is each item of a list, the largest of which
    /// it is.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// What it counts.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Which direction is better.
    pub fn better(&self) -> Better {
        self.better
    }

    /// The label of its row in the text; none where it stands in the row of another one.
    pub fn label(&self) -> Option<&'static str> {
        self.row.map(|row| row.label)
    }

    /// How comparisons call it; none where they leave it out.
    pub fn compared(&self) -> Option<Heading> {
        self.heading
    }

    /// Whether it is what a delivery costs the server.
    pub fn is_cost_of_deliveries(&self) -> bool {
        matches!(self.source, Source::PerDelivery(_))
    }

    /// Whether it is of one kind of scenario alone.
    pub fn is_of_scenario(&self) -> bool {
        self.part() == Part::Scenario
    }

    /// Whether a report is of a kind that has it, measured or not.
    pub fn is_of(&self, report: &Report) -> bool {
        match self.source {
            Source::Deliveries(_) | Source::Latency(_) | Source::SentLate(_) | Source::PerDelivery(_) => {
                report.deliveries().is_some()
            }
            Source::Own(_) | Source::Server(_) => true,
            Source::FindMax(_) => report.find_max().is_some(),
            Source::Idle(_) => report.idle().is_some(),
            Source::Resume(_) => report.resume().is_some(),
            Source::Stuck(_) => report.stuck().is_some(),
            Source::Beside(_) => report.beside().is_some(),
            Source::Connect(_) => report.connects().is_some(),
            Source::Ingest(_) => report.ingest().is_some(),
            Source::Neighbour(_) => report.neighbour().is_some(),
            Source::Ping(_) => report.pings().is_some(),
            Source::Strangers(_) => report.strangers().is_some(),
        }
    }

    /// Its value, if it was measured.
    pub fn read(&self, report: &Report) -> Option<f64> {
        match self.source {
            Source::Deliveries(read) => report.deliveries().map(read),
            Source::Latency(read) => report.deliveries()?.latency_seconds.as_ref().map(read),
            Source::SentLate(read) => report.deliveries()?.sent_late_seconds.as_ref().map(read),
            Source::Own(read) => read(&report.loadgen),
            Source::Server(read) => report.server.as_ref().map(read),
            Source::PerDelivery(read) => read(report.server.as_ref()?),
            Source::FindMax(read) => read(report.find_max()?),
            Source::Idle(read) => report.idle().map(read),
            Source::Resume(read) => read(report.resume()?),
            Source::Stuck(read) => read(report.stuck()?),
            Source::Beside(read) => read(report.beside()?),
            Source::Connect(read) => read(report.connects()?),
            Source::Ingest(read) => read(report.ingest()?),
            Source::Neighbour(read) => read(report.neighbour()?),
            Source::Ping(read) => read(report.pings()?),
            Source::Strangers(read) => read(report.strangers()?),
        }
    }

    pub(super) fn part(&self) -> Part {
        match self.source {
            Source::Deliveries(_) => Part::Deliveries,
            Source::Latency(_) | Source::SentLate(_) => Part::Latency,
            Source::Own(_) | Source::Server(_) | Source::PerDelivery(_) => Part::Usage,
            Source::FindMax(_)
            | Source::Idle(_)
            | Source::Resume(_)
            | Source::Stuck(_)
            | Source::Beside(_)
            | Source::Connect(_)
            | Source::Ingest(_)
            | Source::Neighbour(_)
            | Source::Ping(_)
            | Source::Strangers(_) => Part::Scenario,
        }
    }

    /// Its row, if it has one and was measured.
    pub(super) fn to_row(self, report: &Report) -> Option<Row> {
        let InText { label, show, remark } = self.row?;
        let value = self.read(report)?;
        let number = show.map_or_else(|| self.unit.show(value), |show| show(value));
        Some(Row(label, number, remark(report)))
    }
}
