//! What came of a comparison: every run of it.

use std::fmt;

use fanfare_loadgen_core::report::unit::Unit;
use fanfare_loadgen_core::report::{Findings, Report};
use serde::{Deserialize, Serialize};

use super::args::CompareArgs;
use super::calibration::Calibration;
use super::contender::Contender;
use super::environment::Environment;
use super::placement::Placement;
use super::task::Task;

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) environment: Environment,
    /// How often each was measured.
    pub(crate) rounds: u32,
    /// What p99 must stay within for processor time to be compared.
    #[serde(default = "p99_bound_seconds")]
    pub(crate) p99_bound_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
    /// Which processors are whose, in words. Not known of older files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) placement: String,
    pub(crate) contenders: Vec<Participant>,
    pub(crate) tasks: Vec<TaskOutcome>,
}

/// The bound of older files, which say none, in seconds.
fn p99_bound_seconds() -> f64 {
    0.05
}

/// Who took part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Participant {
    pub(crate) name: String,
    /// The version that its server tells; empty where none could be started.
    pub(crate) version: String,
    /// How many threads of the server serve, where that is known. Not known of older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<u32>,
    /// Who has as many, where it takes part for that reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) equal_to: Option<String>,
}

impl Participant {
    /// How many threads there are, in words; empty where that is not known.
    pub(crate) fn threads(&self) -> String {
        let count = self.threads.map(|count| format!("{count} thread{}", if count == 1 { "" } else { "s" }));
        let equal = self.equal_to.as_ref().map_or_else(String::new, |it| format!(", as many as {it}"));
        count.map_or_else(String::new, |count| count + &equal)
    }
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskOutcome {
    pub(crate) scenario: String,
    pub(crate) title: String,
    /// Who takes no part, and why; empty if all do.
    #[serde(default)]
    pub(crate) left_out: String,
    pub(crate) steps: Vec<StepOutcome>,
}

/// What came of one of its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepOutcome {
    /// Empty where there is but one.
    pub(crate) label: String,
    /// The rounds of each contender.
    pub(crate) rounds: Vec<Vec<Outcome>>,
}

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Why there is no report.
    Failed(String),
    Measured(Box<Report>),
}

impl Comparison {
    /// A comparison of which nothing has been measured yet.
    pub(crate) fn new(
        environment: Environment,
        args: &CompareArgs,
        placement: &Placement,
        contenders: &[Contender],
        tasks: &[Task],
    ) -> Self {
        let steps = |task: &Task| {
            let step = |label| StepOutcome { label, rounds: vec![Vec::new(); contenders.len()] };
            task.steps().iter().map(|it| step(it.label())).collect()
        };
        let outcome = |task: &Task| TaskOutcome {
            scenario: task.scenario.clone(),
            title: task.title(),
            left_out: task.left_out(contenders),
            steps: steps(task),
        };
        let participant = |contender: &Contender| Participant {
            name: contender.name.clone(),
            version: String::new(),
            threads: contender.threads(placement.server_processors()),
            equal_to: contender.equal_to.clone(),
        };
        Self {
            environment,
            rounds: args.rounds,
            p99_bound_seconds: args.p99_bound.as_secs_f64(),
            calibration: None,
            placement: placement.sentence(),
            contenders: contenders.iter().map(participant).collect(),
            tasks: tasks.iter().map(outcome).collect(),
        }
    }

    /// Adds one run.
    pub(crate) fn add(
        &mut self,
        task: usize,
        step: usize,
        who: usize,
        version: Option<String>,
        mut outcome: Outcome,
    ) {
        outcome.abridge();
        if let Some(version) = version {
            self.contenders[who].version = version;
        }
        self.tasks[task].steps[step].rounds[who].push(outcome);
    }

    /// Leaves out what an older file may hold of paths and secrets, and of what nobody reads in a comparison.
    pub(crate) fn tidy(&mut self) {
        self.environment.redact();
        for task in &mut self.tasks {
            task.title = super::redact::secrets(&task.title);
            for outcome in task.steps.iter_mut().flat_map(|step| &mut step.rounds).flatten() {
                outcome.abridge();
            }
        }
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.tasks.iter().flat_map(|task| &task.steps).flat_map(|step| &step.rounds).flatten()
    }

    /// The runs of one contender.
    pub(crate) fn reports_of(&self, who: usize) -> impl Iterator<Item = &Report> {
        let steps = self.tasks.iter().flat_map(|task| &task.steps);
        steps.flat_map(move |step| &step.rounds[who]).filter_map(Outcome::report)
    }

    /// Why runs have failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        self.outcomes().filter_map(Outcome::failure)
    }
}

impl Outcome {
    /// Without what its own report alone is for: memory at each moment, and the rates on the way to the highest.
    fn abridge(&mut self) {
        if let Self::Measured(report) = self {
            match &mut report.findings {
                Findings::FindMax(_, find_max) => find_max.steps.clear(),
                Findings::Stuck(_, stuck) => stuck.memory.iter_mut().for_each(|it| it.samples.clear()),
                _ => {}
            }
        }
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Failed(_) => None,
            Self::Measured(report) => Some(report),
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            Self::Measured(_) => None,
        }
    }
}

/// A line of progress.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Measured(report) => {
                let shown: Vec<String> = super::figure::headlines(report)
                    .iter()
                    .filter_map(|figure| {
                        let value = figure.read(report)?;
                        Some(format!("{} {}", figure.heading(), figure.unit().show(value)))
                    })
                    .collect();
                let lost = Unit::Count.show(report.deliveries().map_or(0.0, |it| it.lost as f64));
                write!(f, "{}, lost {lost}", shown.join(", "))
            }
        }
    }
}
