//! Which charts and bars a scenario has.

use fanfare_loadgen_core::report::metric::Metric;
use fanfare_loadgen_core::report::metrics::{
    DELIVERED_PER_SECOND, IDLE_MEMORY, P99, SERVER_CPU_PER_DELIVERY, SERVER_SYSTEM_PER_DELIVERY,
    SERVER_USER_PER_DELIVERY,
};
use fanfare_loadgen_core::report::unit::Unit;
use fanfare_loadgen_core::report::{Quantiles, Report};

use super::axis::Axis;
use super::chart::{Chart, Line};
use crate::figure::{Figure, Value, headlines};
use crate::outcome::{StepOutcome, TaskOutcome};

/// Shares of the deliveries, and how long at most these took.
const SHARES: [(f64, OfQuantiles); 5] = [
    (0.5, |it| it.p50),
    (0.9, |it| it.p90),
    (0.99, |it| it.p99),
    (0.999, |it| it.p99_9),
    (0.9999, |it| it.p99_99),
];

type OfQuantiles = fn(&Quantiles) -> f64;

/// The charts of a scenario in which p99 must stay within a bound.
pub(crate) fn charts(task: &TaskOutcome, p99_bound_seconds: f64) -> Vec<Chart> {
    let idle = |step: &StepOutcome| step.reports().any(|report| report.idle().is_some());
    if task.steps.iter().any(idle) {
        return by_connections(task).into_iter().collect();
    }
    let mut charts = Vec::new();
    if task.steps.len() > 1 {
        for (metric, caption, title) in [
            (DELIVERED_PER_SECOND, "Deliveries by rate", "deliveries a second"),
            (SERVER_CPU_PER_DELIVERY, "Processor time of the server by rate", "CPU time a delivery"),
            (P99, "Latency by rate", "99% within"),
        ] {
            charts.extend(by_rate(task, &metric, (caption, title), p99_bound_seconds));
        }
    }
    charts.extend(task.steps.iter().filter_map(latency_by_quantile));
    charts
}

/// Bars for the figures of a step that say most.
pub(crate) fn bars(step: &StepOutcome, p99_bound_seconds: f64) -> Vec<Bars> {
    let Some(report) = step.reports().next() else { return Vec::new() };
    let bars = headlines(report).into_iter().map(|figure| Bars::of(step, figure, p99_bound_seconds));
    bars.filter(|bars| bars.bars.iter().any(|bar| bar.value.is_some())).collect()
}

/// A figure of all contenders, as bars.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) figure: Figure,
    /// The bars, one for each contender.
    pub(crate) bars: Vec<Bar>,
}

/// The bar of one contender.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) value: Option<Value>,
    /// Its length, of the longest.
    pub(crate) share: f64,
    /// Which part of it stands for user time, where it is processor time.
    pub(crate) user: Option<f64>,
}

impl Bars {
    fn of(step: &StepOutcome, figure: Figure, p99_bound_seconds: f64) -> Self {
        let value = |who: usize| step.value(who, &figure, p99_bound_seconds);
        let values: Vec<Option<Value>> = (0..step.rounds.len()).map(value).collect();
        let max = values.iter().flatten().map(|value| value.median).fold(0.0, f64::max);
        let bar = |(who, value): (usize, Option<Value>)| {
            let median = |metric: &Metric| {
                Value::of(step.reports_of(who).filter_map(|report| metric.read(report)).collect())
            };
            let user = || Some((median(&SERVER_USER_PER_DELIVERY)?, median(&SERVER_SYSTEM_PER_DELIVERY)?));
            let user = figure.is(&SERVER_CPU_PER_DELIVERY).then(user).flatten();
            let user = user.map(|(user, system)| user.median / (user.median + system.median).max(1e-12));
            let share = value.map_or(0.0, |value| value.median / max.max(f64::MIN_POSITIVE));
            Bar { value, share: share.clamp(0.0, 1.0), user }
        };
        Self { figure, bars: values.into_iter().enumerate().map(bar).collect() }
    }
}

fn by_rate(
    task: &TaskOutcome,
    metric: &Metric,
    (caption, title): (&str, &str),
    p99_bound_seconds: f64,
) -> Option<Chart> {
    let figure = Figure::of(metric)?;
    let rate = |report: &Report| report.deliveries().map_or(0.0, |it| it.rate);
    let lines = lines(task, rate, figure, p99_bound_seconds);
    let (xs, ys) = values(&lines)?;
    let (x, y) = (
        Axis::log_at("publications a second (log)", Unit::Count, &xs),
        Axis::log(&format!("{title} (log)"), figure.unit(), &ys),
    );
    Some(Chart { caption: caption.into(), x, y, lines })
}

fn by_connections(task: &TaskOutcome) -> Option<Chart> {
    let connections = |report: &Report| report.idle().map_or(0.0, |idle| idle.connections as f64);
    // What processor time says of the latency does not matter here.
    let mut lines = lines(task, connections, Figure::of(&IDLE_MEMORY)?, f64::INFINITY);
    for line in &mut lines {
        let reports = task.steps.iter().flat_map(|step| step.reports_of(line.who));
        let before = reports.filter_map(|report| Some(report.idle()?.before_bytes as f64)).collect();
        line.points.splice(0..0, Value::of(before).map(|value| (0.0, value)));
    }
    let (xs, ys) = values(&lines)?;
    let (x, y) = (
        Axis::linear("connections", Unit::Count, &xs),
        Axis::linear("memory of the server's own", Unit::Bytes, &ys),
    );
    Some(Chart { caption: "Memory by connections".into(), x, y, lines })
}

fn latency_by_quantile(step: &StepOutcome) -> Option<Chart> {
    let line = |who: usize| {
        let quantile = |of: OfQuantiles| {
            let latency = |report: &Report| report.deliveries()?.latency_seconds.as_ref().map(of);
            Value::of(step.reports_of(who).filter_map(latency).collect())
        };
        // Without the rounds around them: too many lines end at the same places.
        let median = |value: Value| Value { min: value.median, max: value.median, ..value };
        let points = SHARES.iter().filter_map(|(share, of)| Some((*share, median(quantile(*of)?)))).collect();
        Line { who, points }
    };
    let lines: Vec<Line> = (0..step.rounds.len()).map(line).filter(|line| !line.points.is_empty()).collect();
    let (_, ys) = values(&lines)?;
    let caption = match step.label.as_str() {
        "" => "Latency by quantile".to_owned(),
        label => format!("Latency by quantile, {label}"),
    };
    let (x, y) =
        (Axis::nines("share of the deliveries"), Axis::log("delivered within (log)", Unit::Seconds, &ys));
    Some(Chart { caption, x, y, lines })
}

/// A figure of all contenders over the steps.
fn lines(
    task: &TaskOutcome,
    x: impl Fn(&Report) -> f64,
    figure: Figure,
    p99_bound_seconds: f64,
) -> Vec<Line> {
    let contenders = task.steps.first().map_or(0, |step| step.rounds.len());
    // Of steps that differ in their readers alone, the one with most.
    let readers = |step: &StepOutcome| step.reports().next().map_or(0, |report| report.config.threads);
    let place = |step: &StepOutcome| step.reports().next().map(&x);
    let has_most = |step: &&StepOutcome| {
        task.steps.iter().all(|other| place(other) != place(step) || readers(other) <= readers(step))
    };
    let point = |step: &StepOutcome, who: usize| {
        Some((x(step.reports_of(who).next()?), step.value(who, &figure, p99_bound_seconds)?))
    };
    let line = |who: usize| {
        let points = task.steps.iter().filter(has_most).filter_map(|step| point(step, who)).collect();
        Line { who, points }
    };
    (0..contenders).map(line).filter(|line| !line.points.is_empty()).collect()
}

/// All that is to be seen on either axis, each x once; none if there is nothing.
fn values(lines: &[Line]) -> Option<(Vec<f64>, Vec<f64>)> {
    let points = || lines.iter().flat_map(|line| &line.points);
    points().next()?;
    let mut xs: Vec<f64> = points().map(|(x, _)| *x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    Some((xs, points().flat_map(|(_, y)| [y.min, y.median, y.max]).collect()))
}
