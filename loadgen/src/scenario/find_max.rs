//! `--find-max`: the highest rate that a broker keeps up with.

use std::time::Duration;

use clap::Args;

use super::args::CommonArgs;
use super::search::{RateOutcome, Search};
use super::steady;
use crate::load::Load;
use crate::report::unit::Unit;
use crate::report::{Deliveries, FindMax, Findings, Report, Step};
use crate::run::server::{BrokerOptions, Server};

/// The arguments of scenarios that can look for the highest rate.
#[derive(Debug, Clone, Args)]
pub struct FindMaxArgs {
    /// Look for the highest rate with p99 within --find-max-p99 and nothing lost, beginning with --rate:
    /// double it until that fails, then close in to 5 percent. A rate that fails by p99 alone is tried twice.
    #[arg(long)]
    pub find_max: bool,
    /// What p99 must stay within to have kept up.
    #[arg(long, default_value = "50ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub find_max_p99: Duration,
}

/// Runs a load once, or as often as it takes to find the highest rate.
pub(crate) async fn run(
    load: &Load,
    common: &CommonArgs,
    args: &FindMaxArgs,
    options: BrokerOptions<'_>,
) -> anyhow::Result<Report> {
    let server = steady::find_server(load, common, options).await?;
    match args.find_max {
        true => search(load, common, args.find_max_p99, &server).await,
        false => steady::run_at(load, common, &server).await,
    }
}

async fn search(
    load: &Load,
    common: &CommonArgs,
    limit: Duration,
    server: &Server,
) -> anyhow::Result<Report> {
    let mut search = Search::new(load.rate.unwrap_or_default(), 1.0 / load.duration.as_secs_f64());
    let (mut steps, mut shown): (Vec<Step>, Option<Report>) = (Vec::new(), None);
    let (mut best, mut server_ended_seconds) = (None, None);
    while let Some(rate) = search.next() {
        let result = steady::run_at(&Load { rate: Some(rate), ..load.clone() }, common, server).await;
        let (tried, step) = match &result {
            Ok(report) => match report.deliveries() {
                Some(deliveries) => judge(report, deliveries, limit),
                None => (
                    RateOutcome::Fails,
                    failed(rate, &anyhow::anyhow!("nothing was delivered by a schedule")),
                ),
            },
            // Where nothing works at all there is nothing to look for.
            Err(_) if steps.is_empty() => return result,
            Err(e) => (RateOutcome::Fails, failed(rate, e)),
        };
        if !common.quiet {
            eprintln!("{step}");
        }
        steps.push(step);
        search.tried(tried);
        if tried == RateOutcome::Works {
            best = Some(rate);
        }
        server_ended_seconds = result.as_ref().ok().and_then(|report| report.server_ended_seconds);
        if tried == RateOutcome::Works || shown.is_none() {
            shown = result.ok();
        }
        if server_ended_seconds.is_some() {
            break;
        }
    }
    let mut report = match shown {
        Some(report) => report,
        // A first rate that is too low to be tried is an error like that of any other run.
        None => steady::run_at(load, common, server).await?,
    };
    report.server_ended_seconds = server_ended_seconds;
    let find_max = FindMax { p99_limit_seconds: limit.as_secs_f64(), rate: best, steps };
    report.findings = match report.findings {
        Findings::Steady(deliveries) => Findings::FindMax(deliveries, find_max),
        others => others,
    };
    Ok(report)
}

/// A rate at which there was no run.
fn failed(rate: f64, e: &anyhow::Error) -> Step {
    Step {
        rate,
        delivered_per_second: 0.0,
        p99_seconds: None,
        lost: 0,
        busiest_thread: 0.0,
        failure: Some(format!("{e:#}")),
    }
}

/// Whether a broker kept up, and why not.
fn judge(report: &Report, deliveries: &Deliveries, limit: Duration) -> (RateOutcome, Step) {
    let mut why = faults(deliveries);
    why.extend(report.server_ended());
    let p99_seconds = deliveries.latency_seconds.as_ref().map(|latency| latency.p99);
    let mut tried = if why.is_empty() { RateOutcome::Works } else { RateOutcome::Fails };
    if p99_seconds.is_some_and(|p99| p99 > limit.as_secs_f64()) {
        if tried == RateOutcome::Works {
            tried = RateOutcome::TooSlow;
        }
        why.push("p99 above the limit".to_owned());
    }
    if tried != RateOutcome::Works && report.loadgen.busiest_thread > steady::BUSY_MAX {
        why.push("the load generator was busy too".to_owned());
    }
    let step = Step {
        rate: deliveries.rate,
        delivered_per_second: deliveries.delivered_per_second,
        p99_seconds,
        lost: deliveries.lost,
        busiest_thread: report.loadgen.busiest_thread,
        failure: (!why.is_empty()).then(|| why.join(", ")),
    };
    (tried, step)
}

/// What went wrong, whatever its latency.
fn faults(deliveries: &Deliveries) -> Vec<String> {
    let counts = [
        ("lost", deliveries.lost),
        ("duplicates", deliveries.duplicates),
        ("out of order", deliveries.out_of_order),
        ("over-told", deliveries.over_told),
        ("strays", deliveries.strays),
        ("disconnected", deliveries.disconnected),
        ("publish errors", deliveries.published.errors),
    ];
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    let nothing = deliveries.latency_seconds.is_none().then(|| "nothing delivered".to_owned());
    let counted = counted.map(|(what, count)| format!("{what} {}", Unit::Count.show(count as f64)));
    counted.chain(nothing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{deliveries, report};

    #[test]
    fn a_rate_fails_by_what_was_lost_and_is_too_slow_by_its_latency() {
        let mut report = report();
        report.loadgen.busiest_thread = 0.95;
        let limit = Duration::from_millis(10);
        let (tried, step) = judge(&report, &deliveries(), limit);
        let why = step.failure.expect("3 lost, p99 12 ms");
        assert_eq!(tried, RateOutcome::Fails);
        assert!(why.starts_with("lost 3, ") && why.contains("p99 above the limit"), "{why}");
        assert!(why.ends_with("the load generator was busy too"), "{why}");
        let mut flawless = Deliveries {
            lost: 0,
            duplicates: 0,
            out_of_order: 0,
            over_told: 0,
            strays: 0,
            disconnected: 0,
            ..deliveries()
        };
        flawless.published.errors = 0;
        report.server_ended_seconds = None;
        let (tried, step) = judge(&report, &flawless, Duration::from_millis(12));
        assert_eq!((tried, step.failure), (RateOutcome::Works, None), "busy, but it kept up");
        assert_eq!(judge(&report, &flawless, limit).0, RateOutcome::TooSlow);
        flawless.latency_seconds = None;
        let (tried, step) = judge(&report, &flawless, limit);
        assert_eq!(tried, RateOutcome::Fails);
        assert!(step.failure.expect("nothing came").starts_with("nothing delivered"));
    }
}
