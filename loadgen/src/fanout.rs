//! The scenario `fanout`: every publication goes to all subscribers of its topic.

use std::sync::Arc;

use crate::cli::FanoutArgs;
use crate::limits;
use crate::plan::{Plan, ServerAddress};
use crate::process::Usage;
use crate::report::{self, OwnUsage, Quantiles, Report, ServerUsage, Trouble};
use crate::run::{Measured, Outcome, Run};
use crate::server::Server;

/// A thread that is on a processor for more than this share of the time is a bottleneck.
const BUSY_MAX: f64 = 0.9;

/// Finds or starts the broker, puts the load on it and reports.
///
/// # Errors
/// Why nothing could be measured. Losses and the like are no errors but part of the report.
pub async fn run(args: &FanoutArgs) -> anyhow::Result<Report> {
    limits::raise_file_limit();
    let server = Server::find(&args.common, args.size).await?;
    if !args.common.quiet {
        eprintln!("broker at {}: {}", server.url, server.how);
    }
    let address = ServerAddress::resolve(&server.url).await?;
    let plan = Arc::new(Plan::new(args, address)?);
    limits::check(&plan)?;
    let mut run = Run::start(plan.clone(), server.pid, args.common.quiet)?;
    run.connect().await?;
    let measured = run.follow_schedule(args.grace).await?;
    let outcome = run.finish().await?;
    Ok(compile(args, &server, &plan, &measured, &outcome))
}

fn compile(
    args: &FanoutArgs,
    server: &Server,
    plan: &Plan,
    measured: &Measured,
    Outcome { tally, published, busiest_thread }: &Outcome,
) -> Report {
    // Rates run over the time that was planned, or longer where the last one came later.
    let planned_ns = plan.schedule.end_ns() - plan.schedule.measured_from_ns();
    let seconds = |last_ns: u64| planned_ns.max(last_ns.saturating_sub(measured.from_ns)) as f64 / 1e9;
    let mut warnings = Vec::new();
    let busiest_thread = *busiest_thread;
    if busiest_thread > BUSY_MAX {
        warnings.push(format!(
            "a thread of the load generator was busy {:.0}% of the time: it may have been the bottleneck",
            100.0 * busiest_thread
        ));
    }
    let troubles = tally.troubles.iter().chain(published.troubles.iter());
    Report {
        scenario: "fanout",
        config: report::Config {
            target: plan.target.name(),
            url: server.url.clone(),
            server: server.how.clone(),
            subscribers: plan.subscribers,
            topics: args.topics,
            publishers: plan.publishers,
            rate: args.rate,
            size_bytes: plan.size,
            duration_seconds: args.duration.as_secs_f64(),
            warmup_seconds: args.warmup.as_secs_f64(),
            threads: plan.threads,
        },
        published: report::Published {
            count: published.sent,
            per_second: published.sent as f64 / seconds(published.last_sent_ns),
            offered_per_second: plan.schedule.measured_count() as f64 / (planned_ns as f64 / 1e9),
            errors: published.errors,
        },
        delivered: tally.delivered,
        delivered_per_second: tally.delivered as f64 / seconds(tally.last_delivery_ns),
        lost: published.expected.saturating_sub(tally.delivered),
        duplicates: tally.duplicates,
        out_of_order: tally.out_of_order,
        gaps: tally.gaps,
        strays: tally.strays,
        disconnected: tally.disconnected,
        latency_seconds: Quantiles::of(&tally.latency),
        sent_late_seconds: Quantiles::of(&published.late),
        loadgen: OwnUsage { cpu_seconds: measured.own_cpu.as_secs_f64(), busiest_thread },
        server: server.pid.zip(measured.server).map(|(pid, usage)| server_usage(pid, usage, tally.delivered)),
        troubles: troubles.map(|(what, count)| Trouble { what: what.to_owned(), count }).collect(),
        warnings,
    }
}

fn server_usage(pid: u32, (before, after): (Usage, Usage), delivered: u64) -> ServerUsage {
    let user = after.user_seconds - before.user_seconds;
    let cpu_seconds = user + after.system_seconds - before.system_seconds;
    let each = |seconds: f64| (delivered > 0).then(|| seconds / delivered as f64);
    ServerUsage {
        pid,
        cpu_seconds,
        cpu_seconds_per_delivery: each(cpu_seconds),
        user_seconds_per_delivery: each(user),
        rss_bytes: after.rss_bytes,
    }
}
