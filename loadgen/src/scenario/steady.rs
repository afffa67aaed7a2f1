//! Load that is steady: by a schedule, to everybody who subscribes.

use std::sync::Arc;
use std::time::Duration;

use super::args::CommonArgs;
use crate::load::Load;
use crate::load::plan::Plan;
use crate::load::tally::Troubles;
use crate::machine::cores::{cores, processors};
use crate::machine::limits;
use crate::machine::process::Usage;
use crate::report::{
    Config, Deliveries, Findings, OwnUsage, Published, Quantiles, Report, ServerUsage, Trouble,
};
use crate::run::open_loop::{Measured, OpenLoopOutcome, Run};
use crate::run::server::{BrokerOptions, Server};
use crate::wire::address::ServerAddress;

/// A thread that is on a processor for more than this share of the time is a bottleneck.
pub(crate) const BUSY_MAX: f64 = 0.9;

/// Puts the load on the broker and reports.
pub(crate) async fn run_at(load: &Load, common: &CommonArgs, server: &Server) -> anyhow::Result<Report> {
    let plan = plan(load, common, server).await?;
    let mut run = Run::start(plan.clone(), &server.pids, common.quiet)?;
    run.connect().await?;
    let measured = run.follow_schedule(load.grace).await?;
    let outcome = run.finish().await?;
    Ok(compile(load, server, &plan, &measured, &outcome, Findings::Steady))
}

/// Finds or starts the broker and plans what to ask of it.
pub(crate) async fn prepare(load: &Load, common: &CommonArgs) -> anyhow::Result<(Server, Arc<Plan>)> {
    prepare_own(load, common, BrokerOptions::default()).await
}

/// Like [`prepare`], with these options for a broker that is started for it.
pub(crate) async fn prepare_own(
    load: &Load,
    common: &CommonArgs,
    options: BrokerOptions<'_>,
) -> anyhow::Result<(Server, Arc<Plan>)> {
    let server = find_server(load, common, options).await?;
    let plan = plan(load, common, &server).await?;
    Ok((server, plan))
}

/// Finds or starts the broker.
pub(crate) async fn find_server(
    load: &Load,
    common: &CommonArgs,
    options: BrokerOptions<'_>,
) -> anyhow::Result<Server> {
    limits::raise_file_limit();
    let server = Server::find(&common.broker_choice(), load.size, options).await?;
    if !common.quiet {
        eprintln!("broker at {}: {}", server.url, server.how);
    }
    Ok(server)
}

/// Plans what to ask of the broker.
pub(crate) async fn plan(load: &Load, common: &CommonArgs, server: &Server) -> anyhow::Result<Arc<Plan>> {
    let address = ServerAddress::resolve(&server.url).await?;
    let mut plan = Plan::new(load, address)?;
    plan.trust(common.ca_file.as_deref())?;
    let plan = Arc::new(plan);
    if let Some(short) = limits::check(plan.connections(), plan.server.address.ip(), plan.source_addresses)?
        && !common.quiet
    {
        eprintln!("{short}");
    }
    Ok(plan)
}

/// Makes a report of what was seen; `findings` says what else was found beside the deliveries.
pub(crate) fn compile(
    load: &Load,
    server: &Server,
    plan: &Plan,
    measured: &Measured,
    OpenLoopOutcome { tally, published, busiest_thread }: &OpenLoopOutcome,
    findings: impl FnOnce(Deliveries) -> Findings,
) -> Report {
    // Rates run over the time that was planned, or longer where the last one came later.
    let planned_ns = plan.schedule.end_ns() - plan.schedule.measured_from_ns();
    let seconds = |last_ns: u64| planned_ns.max(last_ns.saturating_sub(measured.from_ns)) as f64 / 1e9;
    let usage = measured.server.as_ref();
    let deliveries = Deliveries {
        rate: load.rate.unwrap_or_default(),
        published: Published {
            count: published.sent,
            per_second: published.sent as f64 / seconds(published.last_sent_ns),
            offered_per_second: plan.schedule.measured_count() as f64 / (planned_ns as f64 / 1e9),
            errors: published.errors,
        },
        delivered: tally.delivered,
        delivered_per_second: tally.delivered as f64 / seconds(tally.last_delivery_ns),
        // Of what could not be sent nothing has arrived either.
        lost: plan.expected().saturating_sub(tally.delivered),
        holes: Some(tally.holes),
        duplicates: tally.duplicates,
        out_of_order: tally.out_of_order,
        gaps: tally.gaps,
        over_told: tally.over_told,
        strays: tally.strays,
        disconnected: tally.disconnected,
        latency_seconds: Quantiles::of(&tally.latency),
        sent_late_seconds: Quantiles::of(&published.late),
    };
    Report {
        scenario: load.scenario.to_owned(),
        config: config(load, server, plan),
        findings: findings(deliveries),
        loadgen: OwnUsage::of(measured.own_cpu, *busiest_thread, tally.delivered),
        server: usage
            .map(|(before, after)| ServerUsage::between(&server.pids, before, after, tally.delivered)),
        server_ended_seconds: measured.server_ended.map(|after| after.as_secs_f64()),
        troubles: [troubles(&tally.troubles), troubles(&published.troubles)].concat(),
        warnings: warnings(*busiest_thread, measured.own_cpu, usage, measured.wall),
    }
}

/// What was asked for, as the report says it.
pub(crate) fn config(load: &Load, server: &Server, plan: &Plan) -> Config {
    Config {
        target: plan.target.name().to_owned(),
        url: server.url.clone(),
        server: server.how.clone(),
        subscribers: load.subscribers,
        by_client: load.by_client,
        topics: load.topics,
        topics_each: load.topics_each,
        publishers: load.publishers,
        size_bytes: plan.size,
        duration_seconds: load.duration.as_secs_f64(),
        warmup_seconds: load.warmup.as_secs_f64(),
        member_order: load.member_order,
        threads: plan.threads,
        confirmed: plan.target.confirmed().to_owned(),
        pinned: server.pinned(),
    }
}

/// What went wrong, as the report says it.
pub(crate) fn troubles(troubles: &Troubles) -> Vec<Trouble> {
    troubles.iter().map(|(what, count)| Trouble { what: what.to_owned(), count }).collect()
}

/// What is to be said where the load generator may have been the bottleneck, or the machine was, on which
/// it had `own_cpu` of `wall` and the server what its usage says.
pub(crate) fn warnings(
    busiest_thread: f64,
    own_cpu: Duration,
    server: Option<&(Usage, Usage)>,
    wall: Duration,
) -> Vec<String> {
    // This thread may be pinned to those that are the load generator's.
    warnings_on((processors(), cores()), busiest_thread, own_cpu, server, wall)
}

/// The warnings on a machine of so many processors, and so many of them for the load generator.
fn warnings_on(
    (all, own): (u32, u32),
    busiest_thread: f64,
    own_cpu: Duration,
    server: Option<&(Usage, Usage)>,
    wall: Duration,
) -> Vec<String> {
    let busy =
        |seconds: f64, processors: u32| seconds > BUSY_MAX * wall.as_secs_f64() * f64::from(processors);
    let mut warnings = Vec::new();
    if busiest_thread > BUSY_MAX {
        warnings.push(format!(
            "a thread of the load generator was busy {:.0}% of the time: it may have been the bottleneck",
            100.0 * busiest_thread
        ));
    }
    let server_seconds = server.map_or(0.0, |(before, after)| after.cpu_seconds() - before.cpu_seconds());
    if own < all && busy(own_cpu.as_secs_f64(), own) {
        let plural = if own == 1 { "" } else { "s" };
        warnings.push(format!(
            "the load generator kept the {own} processor{plural} busy that it is pinned to: it may have been the \
             bottleneck, and the times measured hold some waiting"
        ));
    }
    if busy(own_cpu.as_secs_f64() + server_seconds, all) {
        warnings.push(
            "load generator and server together kept the processors busy: the times measured hold some \
             waiting for one"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_and_a_busy_machine_are_warned_of() {
        let wall = Duration::from_secs(10);
        assert_eq!(warnings(0.9, Duration::ZERO, None, wall), [""; 0]);
        let busy = warnings(0.91, Duration::ZERO, None, wall);
        assert!(busy[0].contains("busy 91% of the time"), "{busy:?}");
        let half = f64::from(processors()) * 10.0 / 2.0;
        let usage = (Usage::default(), Usage { user_seconds: half, ..Usage::default() });
        let own = Duration::from_secs_f64(half);
        assert_eq!(warnings(0.5, own, None, wall), [""; 0]);
        let full = warnings(0.5, own, Some(&usage), wall);
        assert!(full[0].starts_with("load generator and server together"), "{full:?}");
    }

    #[test]
    fn processors_that_are_the_load_generators_alone_are_warned_of_when_they_are_busy() {
        let wall = Duration::from_secs(10);
        // Two threads share one of two processors: neither is busy all the time, and the server is idle.
        let of = |own, seconds| warnings_on((2, own), 0.5, Duration::from_secs_f64(seconds), None, wall);
        assert_eq!((of(1, 8.9), of(2, 9.5)), (vec![], vec![]), "it may use both");
        let busy = of(1, 9.1);
        assert!(busy[0].starts_with("the load generator kept the 1 processor busy"), "{busy:?}");
        assert_eq!(busy.len(), 1, "{busy:?}");
    }
}
