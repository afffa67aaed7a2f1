//! `--find-max`: the highest rate that a broker keeps up with.

use std::time::Duration;

use clap::Args;

use super::{Load, steady};
use crate::report::{FindMax, Report, Step};
use crate::search::Search;
use crate::unit::Unit;

/// The arguments of scenarios that can look for the highest rate.
#[derive(Debug, Clone, Args)]
pub struct FindMaxArgs {
    /// Look for the highest rate with p99 within --find-max-p99 and nothing lost, beginning with --rate:
    /// double it until that fails, then close in to 5 percent. A rate that fails is tried twice.
    #[arg(long)]
    pub find_max: bool,
    /// What p99 must stay within to have kept up.
    #[arg(long, default_value = "50ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub find_max_p99: Duration,
}

/// Runs a load once, or as often as it takes to find the highest rate.
pub(crate) async fn run(load: &Load<'_>, args: &FindMaxArgs) -> anyhow::Result<Report> {
    match args.find_max {
        true => search(load, args.find_max_p99).await,
        false => steady::run(load).await,
    }
}

async fn search(load: &Load<'_>, limit: Duration) -> anyhow::Result<Report> {
    let server = steady::find_server(load).await?;
    let mut search = Search::new(load.rate.unwrap_or_default(), 1.0 / load.schedule.duration.as_secs_f64());
    let (mut steps, mut shown): (Vec<Step>, Option<Report>) = (Vec::new(), None);
    let mut best = None;
    while let Some(rate) = search.next() {
        let report = steady::run_at(&Load { rate: Some(rate), ..load.clone() }, &server).await?;
        let step = Step::new(&report, limit);
        if !load.common.quiet {
            eprintln!("{step}");
        }
        let works = step.failure.is_none();
        steps.push(step);
        search.tried(works);
        if works {
            best = Some(rate);
        }
        if works || shown.is_none() {
            shown = Some(report);
        }
    }
    let mut report = match shown {
        Some(report) => report,
        // A first rate that is too low to be tried is an error like that of any other run.
        None => steady::run_at(load, &server).await?,
    };
    report.find_max = Some(FindMax { p99_limit_seconds: limit.as_secs_f64(), rate: best, steps });
    Ok(report)
}

impl Step {
    fn new(report: &Report, limit: Duration) -> Self {
        Self {
            rate: report.config.rate,
            delivered_per_second: report.delivered_per_second,
            p99_seconds: report.latency_seconds.as_ref().map(|latency| latency.p99),
            lost: report.lost,
            busiest_thread: report.loadgen.busiest_thread,
            failure: failure(report, limit),
        }
    }
}

/// Why a broker did not keep up, if it did not.
fn failure(report: &Report, limit: Duration) -> Option<String> {
    let faults = [
        ("lost", report.lost),
        ("duplicates", report.duplicates),
        ("out of order", report.out_of_order),
        ("strays", report.strays),
        ("disconnected", report.disconnected),
        ("publish errors", report.published.errors),
    ];
    let mut why: Vec<String> = Vec::new();
    for (what, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
        why.push(format!("{what} {}", Unit::Count.show(count as f64)));
    }
    match &report.latency_seconds {
        None => why.push("nothing delivered".to_owned()),
        Some(latency) if latency.p99 > limit.as_secs_f64() => why.push("p99 above the limit".to_owned()),
        Some(_) => {}
    }
    if !why.is_empty() && report.loadgen.busiest_thread > steady::BUSY_MAX {
        why.push("the load generator was busy too".to_owned());
    }
    (!why.is_empty()).then(|| why.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_rate_fails_by_what_was_lost_and_by_its_latency() {
        let mut flawed = report();
        flawed.loadgen.busiest_thread = 0.95;
        let limit = Duration::from_millis(10);
        let why = failure(&flawed, limit).expect("3 lost, p99 12 ms");
        assert!(why.starts_with("lost 3, ") && why.contains("p99 above the limit"), "{why}");
        assert!(why.ends_with("the load generator was busy too"), "{why}");
        let mut flawless =
            Report { lost: 0, duplicates: 0, out_of_order: 0, strays: 0, disconnected: 0, ..flawed };
        flawless.published.errors = 0;
        assert_eq!(failure(&flawless, Duration::from_millis(12)), None, "busy, but it kept up");
        flawless.latency_seconds = None;
        assert!(failure(&flawless, limit).expect("nothing came").starts_with("nothing delivered"));
    }
}
