//! The report: one HTML file with everything in it.

mod axis;
mod chart;
mod plots;

use std::collections::BTreeSet;

use anyhow::Context as _;
use fanfare_loadgen_core::report::MemberOrder;
use fanfare_loadgen_core::report::unit::Unit;
use minijinja::syntax::SyntaxConfig;
use serde::Serialize;

use super::figure::{Figure, Ratio, Value};
use super::outcome::{Comparison, Participant, TaskOutcome};
use super::sheet::Sheet;
use super::verdict::Verdict;
use chart::COLOURS;

const TEMPLATE: &str = include_str!("report.html");

/// What the template shows.
#[derive(Debug, Serialize)]
struct Page {
    environment: Vec<(&'static str, String)>,
    rounds: u32,
    p99_bound: String,
    contenders: Vec<ContenderPart>,
    tasks: Vec<TaskPart>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ContenderPart {
    name: String,
    version: String,
    /// How many threads it has, in words.
    threads: String,
    /// Which publications it confirms, in words.
    confirmed: String,
    colour: usize,
    measured: bool,
    faults: Vec<String>,
    behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TaskPart {
    title: String,
    conditions: String,
    sheets: Vec<SheetPart>,
    charts: Vec<ChartPart>,
}

#[derive(Debug, Serialize)]
struct SheetPart {
    label: String,
    figures: Vec<&'static str>,
    rows: Vec<RowPart>,
    bars: Vec<BarsPart>,
}

#[derive(Debug, Serialize)]
struct RowPart {
    name: String,
    colour: usize,
    cells: Vec<Option<CellPart>>,
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CellPart {
    median: String,
    /// The least and the most of the rounds, where they differ.
    spread: String,
    ratio: String,
}

#[derive(Debug, Serialize)]
struct BarsPart {
    title: &'static str,
    split: bool,
    bars: Vec<BarPart>,
}

#[derive(Debug, Serialize)]
struct BarPart {
    name: String,
    colour: usize,
    value: String,
    /// Percent of the room: of all but user time, and of user time.
    rest: f64,
    user: f64,
}

#[derive(Debug, Serialize)]
struct ChartPart {
    caption: String,
    svg: String,
    /// Who can be seen on it.
    contenders: Vec<(String, usize)>,
}

/// Writes the page.
pub(crate) fn render(comparison: &Comparison) -> anyhow::Result<String> {
    let mut templates = minijinja::Environment::new();
    templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    templates.add_template("report.html", TEMPLATE).context("the template of the report is broken")?;
    let page = Page::of(comparison)?;
    templates
        .get_template("report.html")?
        .render(minijinja::value::Serde(&page))
        .context("cannot write the report")
}

impl Page {
    fn of(comparison: &Comparison) -> anyhow::Result<Self> {
        let environment = &comparison.environment;
        let part = |(who, it): (usize, &Participant)| {
            let Verdict { faults, behind } = Verdict::of(comparison, who);
            ContenderPart {
                name: it.name.clone(),
                version: it.version.clone(),
                threads: it.threads(),
                confirmed: comparison
                    .reports_of(who)
                    .next()
                    .map_or_else(String::new, |report| report.config.confirmed.clone()),
                colour: who % COLOURS,
                measured: comparison.reports_of(who).next().is_some(),
                faults,
                behind,
            }
        };
        let mut about = vec![
            ("date", format!("{} UTC", environment.date)),
            ("processor", format!("{}, {} cores", environment.cpu, environment.cores)),
            ("memory", Unit::Bytes.show(environment.memory_bytes as f64)),
            ("system", format!("{}, Linux {}", environment.system, environment.kernel)),
            ("command", environment.command.clone()),
        ];
        let placement = Some(comparison.placement.clone()).filter(|it| !it.is_empty());
        about.extend(placement.map(|sentence| ("processors", sentence)));
        let calibration = comparison.calibration.map(|it| it.sentence(comparison.p99_bound_seconds));
        about.extend(calibration.map(|sentence| ("calibration", sentence)));
        Ok(Self {
            environment: about,
            rounds: comparison.rounds,
            p99_bound: Unit::Seconds.show(comparison.p99_bound_seconds),
            contenders: comparison.contenders.iter().enumerate().map(part).collect(),
            tasks: comparison
                .tasks
                .iter()
                .map(|task| TaskPart::of(comparison, task))
                .collect::<anyhow::Result<_>>()?,
            warnings: warnings(comparison),
        })
    }
}

impl TaskPart {
    fn of(comparison: &Comparison, task: &TaskOutcome) -> anyhow::Result<Self> {
        let name = |who: usize| (comparison.contenders[who].name.clone(), who % COLOURS);
        let charts = plots::charts(task, comparison.p99_bound_seconds).into_iter().map(|chart| {
            Ok(ChartPart {
                svg: chart.to_svg()?,
                contenders: chart.lines.iter().map(|line| name(line.who)).collect(),
                caption: chart.caption,
            })
        });
        let single = task.steps.len() == 1;
        let sheets = task.steps.iter().map(|step| {
            let bound = comparison.p99_bound_seconds;
            let bars = if single { plots::bars(step, bound) } else { Vec::new() };
            SheetPart {
                label: step.label.clone(),
                bars: bars.iter().map(|bars| BarsPart::of(comparison, bars)).collect(),
                ..SheetPart::of(comparison, &Sheet::of(step, bound))
            }
        });
        Ok(Self {
            title: task.title.clone(),
            conditions: conditions(task),
            sheets: sheets.collect(),
            charts: charts.collect::<anyhow::Result<_>>()?,
        })
    }
}

impl SheetPart {
    fn of(comparison: &Comparison, sheet: &Sheet<'_>) -> Self {
        let row = |who: usize| {
            let row = &sheet.rows[who];
            let cell = |column: usize| {
                Some(CellPart::of(&sheet.figures[column], row.values[column]?, sheet.ratio(who, column)))
            };
            RowPart {
                name: comparison.contenders[who].name.clone(),
                colour: who % COLOURS,
                cells: (0..sheet.figures.len()).map(cell).collect(),
                failures: row.failures.iter().map(|why| (*why).to_owned()).collect(),
            }
        };
        Self {
            label: String::new(),
            figures: sheet.figures.iter().map(Figure::heading).collect(),
            rows: (0..sheet.rows.len()).map(row).collect(),
            bars: Vec::new(),
        }
    }
}

impl CellPart {
    fn of(figure: &Figure, value: Value, ratio: Option<Ratio>) -> Self {
        Self {
            median: figure.unit().show(value.median),
            spread: value.spread(figure.unit()).unwrap_or_default(),
            ratio: match ratio {
                Some(Ratio::Times(times)) => format!("{times:.2}×"),
                Some(Ratio::WithinSpread) => "≈".to_owned(),
                Some(Ratio::Unknown) | None => String::new(),
            },
        }
    }
}

impl BarsPart {
    fn of(comparison: &Comparison, bars: &plots::Bars) -> Self {
        let bar = |(who, bar): (usize, &plots::Bar)| {
            let user = bar.user.unwrap_or(0.0);
            BarPart {
                name: comparison.contenders[who].name.clone(),
                colour: who % COLOURS,
                value: bar.value.map_or_else(|| "–".into(), |value| bars.figure.unit().show(value.median)),
                rest: 100.0 * bar.share * (1.0 - user),
                user: 100.0 * bar.share * user,
            }
        };
        Self {
            title: bars.figure.heading(),
            split: bars.bars.iter().any(|bar| bar.user.is_some()),
            bars: bars.bars.iter().enumerate().filter(|it| it.1.value.is_some()).map(bar).collect(),
        }
    }
}

/// How it was measured, as the first report of the scenario has it.
fn conditions(task: &TaskOutcome) -> String {
    let Some(report) = task.steps.iter().find_map(|step| step.reports().next()) else {
        return task.left_out.clone();
    };
    let config = &report.config;
    let some = |count: u32, one: &str| {
        format!("{} {one}{}", Unit::Count.show(f64::from(count)), if count == 1 { "" } else { "s" })
    };
    let mut parts = Vec::new();
    if config.subscribers > 0 && report.idle().is_none() {
        let by = if config.by_client { " by client" } else { "" };
        parts.push(some(config.subscribers, "subscriber") + by);
    }
    if config.topics_each > 1 {
        parts.push(format!("{} each", some(config.topics_each, "topic")));
    }
    parts.push(some(config.topics, "topic"));
    if config.publishers > 0 {
        parts.push(some(config.publishers, "publisher"));
    }
    parts.push(format!("payloads of {} bytes", config.size_bytes));
    parts.extend(member_order(task));
    if let Some(pinned) = &config.pinned {
        parts.push(pinned.clone());
    }
    if config.duration_seconds > 0.0 {
        parts.push(format!("measured for {}", Unit::Seconds.show(config.duration_seconds)));
    }
    let left_out = Some(task.left_out.clone()).filter(|it| !it.is_empty());
    [parts.join(", ")].into_iter().chain(left_out).collect::<Vec<_>>().join("; ")
}

/// In which order the members of its rooms connected, over all rounds.
fn member_order(task: &TaskOutcome) -> Option<String> {
    let reports = task.steps.iter().flat_map(|step| step.reports());
    let orders: Vec<MemberOrder> = reports.filter_map(|report| report.config.member_order).collect();
    let first = orders.first()?;
    let seeds = orders.iter().filter_map(|order| match order {
        MemberOrder::Random { seed } => Some(*seed),
        MemberOrder::RoundRobin => None,
    });
    let seeds = seeds.collect::<BTreeSet<_>>().into_iter().map(|seed| seed.to_string()).collect::<Vec<_>>();
    match seeds.as_slice() {
        [] | [_] => Some(first.to_string()),
        seeds => Some(format!("members in random order, seeds {}", seeds.join(", "))),
    }
}

/// What the load generator said about its own figures, with who and where.
fn warnings(comparison: &Comparison) -> Vec<String> {
    let mut warnings = Vec::new();
    for task in &comparison.tasks {
        for step in &task.steps {
            for (who, contender) in comparison.contenders.iter().enumerate() {
                for report in step.reports_of(who) {
                    let troubles =
                        report.troubles.iter().map(|it| format!("{} ({} times)", it.what, it.count));
                    for what in report.warnings.iter().cloned().chain(troubles) {
                        let label = if step.label.is_empty() { "" } else { ", " };
                        warnings.push(format!(
                            "{}{label}{}, {}: {what}",
                            task.scenario, step.label, contender.name
                        ));
                    }
                }
            }
        }
    }
    warnings.dedup();
    warnings
}
