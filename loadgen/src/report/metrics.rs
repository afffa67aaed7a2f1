//! All metrics. Rows of the text, assertions and the columns of comparisons go through this table.

use super::metric::Better::{Less, More, Neither};
use super::metric::Source::{
    Beside, Connect, Deliveries, FindMax, Idle, Ingest, Latency, Neighbour, Own, PerDelivery, Ping, Resume,
    SentLate, Server, Strangers, Stuck,
};
use super::metric::{Better, Metric, Source};
use super::remarks;
use super::unit::Unit::{Bytes, Count, Seconds};

const fn count(name: &'static str, key: &'static str, better: Better, source: Source) -> Metric {
    Metric::new(name, key, Count, better, source)
}

const fn seconds(name: &'static str, key: &'static str, source: Source) -> Metric {
    Metric::new(name, key, Seconds, Less, source)
}

const fn bytes(name: &'static str, key: &'static str, source: Source) -> Metric {
    Metric::new(name, key, Bytes, Less, source)
}

/// Deliveries by the second.
pub const DELIVERED_PER_SECOND: Metric =
    count("delivered_per_second", "delivered_per_second", More, Deliveries(|it| it.delivered_per_second))
        .heading(10, "delivered/s");
/// What 99% of the latencies are at most.
pub const P99: Metric = seconds("p99", "latency_seconds.p99", Latency(|it| it.p99))
    .row_with("latency p99", remarks::late_p99)
    .heading(12, "p99");
/// Memory of the server's own once all are connected.
pub const IDLE_MEMORY: Metric =
    bytes("idle_memory", "idle.connected_bytes", Idle(|it| it.connected_bytes as f64)).heading(42, "memory");
/// The highest rate that the broker keeps up with.
pub const MAX_RATE: Metric =
    count("max_rate", "find_max.rate", More, FindMax(|it| it.rate)).heading(0, "highest rate");
/// The load generator's processor time for each delivery.
pub const OWN_CPU_PER_DELIVERY: Metric = seconds(
    "own_cpu_per_delivery",
    "loadgen.cpu_seconds_per_delivery",
    Own(|it| it.cpu_seconds_per_delivery),
)
.heading(17, "client CPU");
/// The server's processor time for each delivery.
pub const SERVER_CPU_PER_DELIVERY: Metric = seconds(
    "server_cpu_per_delivery",
    "server.cpu_seconds_per_delivery",
    PerDelivery(|it| it.cpu_seconds_per_delivery),
)
.relative(13, "CPU a delivery");
/// How much of that in the broker's own code.
pub const SERVER_USER_PER_DELIVERY: Metric = seconds(
    "server_user_per_delivery",
    "server.user_seconds_per_delivery",
    PerDelivery(|it| it.user_seconds_per_delivery),
)
.heading(14, "of it user");
/// How much of it in the kernel.
pub const SERVER_SYSTEM_PER_DELIVERY: Metric = seconds(
    "server_system_per_delivery",
    "server.system_seconds_per_delivery",
    PerDelivery(|it| it.system_seconds_per_delivery),
)
.heading(15, "system");

/// All that there are. Those of one part have their rows in this order.
pub const METRICS: &[Metric] = &[
    // The latency of deliveries.
    seconds("p50", "latency_seconds.p50", Latency(|it| it.p50)).row("latency p50").heading(11, "p50"),
    seconds("p90", "latency_seconds.p90", Latency(|it| it.p90)).row("latency p90"),
    P99,
    seconds("p99.9", "latency_seconds.p99_9", Latency(|it| it.p99_9)).row("latency p99.9"),
    seconds("p99.99", "latency_seconds.p99_99", Latency(|it| it.p99_99)).row("latency p99.99"),
    seconds("max", "latency_seconds.max", Latency(|it| it.max)).row_with("latency max", remarks::late_max),
    seconds("sent_late_p99", "sent_late_seconds.p99", SentLate(|it| it.p99)),
    seconds("sent_late_max", "sent_late_seconds.max", SentLate(|it| it.max)),
    // Their number.
    count("published", "published.count", More, Deliveries(|it| it.published.count as f64))
        .row_with("published", remarks::published),
    count("published_per_second", "published.per_second", More, Deliveries(|it| it.published.per_second)),
    count("publish_errors", "published.errors", Less, Deliveries(|it| it.published.errors as f64))
        .row_with("publish errors", remarks::confirmed),
    count("delivered", "delivered", More, Deliveries(|it| it.delivered as f64))
        .row_with("delivered", remarks::delivered),
    DELIVERED_PER_SECOND,
    count("lost", "lost", Less, Deliveries(|it| it.lost as f64))
        .row_with("lost", remarks::announced)
        .heading(18, "lost or late"),
    count("gaps", "gaps", Less, Deliveries(|it| it.gaps as f64)),
    count("over_told", "over_told", Less, Deliveries(|it| it.over_told as f64)),
    count("duplicates", "duplicates", Less, Deliveries(|it| it.duplicates as f64))
        .row("duplicates")
        .heading(19, "duplicates"),
    count("out_of_order", "out_of_order", Less, Deliveries(|it| it.out_of_order as f64))
        .row("out of order")
        .heading(20, "out of order"),
    count("strays", "strays", Less, Deliveries(|it| it.strays as f64)).row("strays"),
    count("disconnected", "disconnected", Less, Deliveries(|it| it.disconnected as f64))
        .row("disconnected")
        .heading(21, "disconnected"),
    // The highest rate.
    MAX_RATE,
    // Scenario `idle`.
    bytes("memory_per_connection", "idle.bytes_per_connection", Idle(|it| it.bytes_per_connection))
        .row_with("a connection", remarks::connected)
        .relative(40, "each connection"),
    bytes(
        "memory_per_connection_after_burst",
        "idle.bytes_per_connection_after_burst",
        Idle(|it| it.bytes_per_connection_after_burst),
    )
    .row_with("after the burst", remarks::after_burst)
    .relative(41, "after a burst"),
    IDLE_MEMORY,
    // Scenario `connect`.
    count("connects", "connects.count", More, Connect(|it| Some(it.count as f64)))
        .row_with("connects", remarks::connects),
    count("connects_per_second", "connects.per_second", More, Connect(|it| Some(it.per_second)))
        .heading(40, "connects/s"),
    count("connects_failed", "connects.failed", Less, Connect(|it| Some(it.failed as f64)))
        .row("failed")
        .heading(45, "failed"),
    seconds("connect_p50", "connects.ready_seconds.p50", Connect(|it| Some(it.ready_seconds.as_ref()?.p50)))
        .row("ready p50")
        .heading(43, "subscribed p50"),
    seconds("connect_p99", "connects.ready_seconds.p99", Connect(|it| Some(it.ready_seconds.as_ref()?.p99)))
        .row("ready p99")
        .heading(44, "subscribed p99"),
    seconds("connect_max", "connects.ready_seconds.max", Connect(|it| Some(it.ready_seconds.as_ref()?.max)))
        .row("ready max"),
    seconds("closed_p50", "connects.closed_seconds.p50", Connect(|it| Some(it.closed_seconds.as_ref()?.p50)))
        .row("closed p50"),
    seconds("closed_p99", "connects.closed_seconds.p99", Connect(|it| Some(it.closed_seconds.as_ref()?.p99)))
        .row("closed p99"),
    seconds("closed_max", "connects.closed_seconds.max", Connect(|it| Some(it.closed_seconds.as_ref()?.max)))
        .row("closed max"),
    seconds(
        "server_cpu_per_connect",
        "connects.server_cpu_seconds_each",
        Connect(|it| it.server_cpu_seconds_each),
    )
    .row_with("server CPU each", remarks::split_of_connects)
    .relative(41, "CPU each"),
    seconds(
        "server_user_per_connect",
        "connects.server_user_seconds_each",
        Connect(|it| it.server_user_seconds_each),
    )
    .heading(42, "of it user"),
    // Scenario `ingest`.
    count("acknowledged", "ingest.acknowledged", More, Ingest(|it| Some(it.acknowledged as f64)))
        .row_with("acknowledged", remarks::window),
    count(
        "acknowledged_per_second",
        "ingest.acknowledged_per_second",
        More,
        Ingest(|it| Some(it.acknowledged_per_second)),
    )
    .heading(40, "acknowledged/s"),
    count("refused", "ingest.refused", Less, Ingest(|it| Some(it.refused as f64)))
        .row("refused")
        .heading(44, "refused"),
    count("unacknowledged", "ingest.unacknowledged", Less, Ingest(|it| Some(it.unacknowledged as f64)))
        .row("unacknowledged")
        .heading(45, "unacknowledged"),
    count(
        "bystanders",
        "ingest.bystanders",
        Neither,
        Ingest(|it| (it.bystanders > 0).then_some(f64::from(it.bystanders))),
    )
    .row_with("bystanders", remarks::held_open),
    seconds(
        "acknowledged_p50",
        "ingest.acknowledged_seconds.p50",
        Ingest(|it| Some(it.acknowledged_seconds.as_ref()?.p50)),
    )
    .row("ack p50")
    .heading(41, "p50"),
    seconds(
        "acknowledged_p99",
        "ingest.acknowledged_seconds.p99",
        Ingest(|it| Some(it.acknowledged_seconds.as_ref()?.p99)),
    )
    .row("ack p99")
    .heading(42, "p99"),
    seconds(
        "acknowledged_max",
        "ingest.acknowledged_seconds.max",
        Ingest(|it| Some(it.acknowledged_seconds.as_ref()?.max)),
    )
    .row("ack max"),
    seconds(
        "server_cpu_per_publication",
        "ingest.server_cpu_seconds_each",
        Ingest(|it| it.server_cpu_seconds_each),
    )
    .row_with("server CPU each", remarks::split_of_ingest)
    .relative(43, "CPU each"),
    seconds(
        "server_user_per_publication",
        "ingest.server_user_seconds_each",
        Ingest(|it| it.server_user_seconds_each),
    ),
    // Scenario `stuck`.
    count("stuck", "stuck.subscribers", Neither, Stuck(|it| Some(it.subscribers.into())))
        .row_with("stuck", remarks::got),
    count("stuck_missed", "stuck.missed", Less, Stuck(|it| Some(it.missed as f64)))
        .heading(32, "stuck: missed"),
    count("stuck_lost", "stuck.lost", Less, Stuck(|it| Some(it.lost as f64)))
        .row_with("stuck: lost", remarks::told)
        .heading(33, "without a word"),
    count("stuck_over_told", "stuck.over_told", Less, Stuck(|it| Some(it.over_told as f64))),
    count("stuck_duplicates", "stuck.duplicates", Less, Stuck(|it| Some(it.duplicates as f64)))
        .row("stuck: doubled"),
    count("stuck_out_of_order", "stuck.out_of_order", Less, Stuck(|it| Some(it.out_of_order as f64)))
        .row_with("stuck: order", remarks::out_of_order),
    count("stuck_disconnected", "stuck.disconnected", Less, Stuck(|it| Some(it.disconnected as f64)))
        .row("stuck: closed"),
    bytes(
        "memory_growth_per_second",
        "stuck.memory.growth_bytes_per_second",
        Stuck(|it| Some(it.memory.as_ref()?.growth_bytes_per_second)),
    )
    .row_with("memory growth", remarks::halves)
    .shown(|value| format!("{}/s", Bytes.show(value)))
    .heading(30, "memory growth/s"),
    bytes("memory_max", "stuck.memory.max_bytes", Stuck(|it| Some(it.memory.as_ref()?.max_bytes as f64)))
        .heading(31, "memory max"),
    // Scenario `resume`.
    count("caught_up", "resume.caught_up", More, Resume(|it| Some(it.caught_up as f64)))
        .row_with("caught up", remarks::cut_off),
    count("recovered", "resume.recovered", More, Resume(|it| Some(it.recovered as f64)))
        .row_with("recovered", remarks::replayed)
        .heading(3, "recovered"),
    count("reloads", "resume.reloads", Less, Resume(|it| Some(it.reloads as f64)))
        .row("told to reload")
        .heading(4, "told to reload"),
    count("replayed", "resume.replayed", Neither, Resume(|it| Some(it.replayed as f64)))
        .heading(5, "replayed"),
    seconds("back_p50", "resume.back_seconds.p50", Resume(|it| Some(it.back_seconds.as_ref()?.p50)))
        .row("back p50"),
    seconds("back_p99", "resume.back_seconds.p99", Resume(|it| Some(it.back_seconds.as_ref()?.p99)))
        .row("back p99"),
    seconds("back_max", "resume.back_seconds.max", Resume(|it| Some(it.back_seconds.as_ref()?.max)))
        .row("back max"),
    seconds(
        "caught_up_p50",
        "resume.caught_up_seconds.p50",
        Resume(|it| Some(it.caught_up_seconds.as_ref()?.p50)),
    )
    .row("caught up p50")
    .heading(2, "caught up p50"),
    seconds(
        "caught_up_p99",
        "resume.caught_up_seconds.p99",
        Resume(|it| Some(it.caught_up_seconds.as_ref()?.p99)),
    )
    .row("caught up p99"),
    seconds(
        "caught_up_max",
        "resume.caught_up_seconds.max",
        Resume(|it| Some(it.caught_up_seconds.as_ref()?.max)),
    )
    .row("all caught up")
    .heading(1, "all back after"),
    // Scenario `neighbour`.
    count("answers", "neighbour.answers", More, Neighbour(|it| Some(it.answers as f64))).row("answers"),
    seconds(
        "answer_p50",
        "neighbour.answer_seconds.p50",
        Neighbour(|it| Some(it.answer_seconds.as_ref()?.p50)),
    )
    .row("answer p50"),
    seconds(
        "answer_p99",
        "neighbour.answer_seconds.p99",
        Neighbour(|it| Some(it.answer_seconds.as_ref()?.p99)),
    )
    .row("answer p99"),
    seconds(
        "answer_max",
        "neighbour.answer_seconds.max",
        Neighbour(|it| Some(it.answer_seconds.as_ref()?.max)),
    )
    .row("answer max"),
    count("share_ratio", "neighbour.share_ratio", Less, Neighbour(|it| Some(it.share_ratio)))
        .row_with("share ratio", remarks::shares)
        .shown(|ratio| format!("{ratio:.2}")),
    count(
        "listeners_closed",
        "neighbour.listeners_closed",
        Less,
        Neighbour(|it| Some(it.listeners_closed as f64)),
    )
    .row_with("listeners closed", remarks::listeners),
    // Scenario `ping`.
    count("pings", "pings.count", Neither, Ping(|it| Some(it.count as f64)))
        .row_with("pings", remarks::pings),
    count("answered", "pings.answered", More, Ping(|it| Some(it.answered as f64))).row("answered"),
    count("unanswered", "pings.unanswered", Less, Ping(|it| Some(it.unanswered as f64)))
        .row("unanswered")
        .heading(45, "unanswered"),
    seconds("ping_p50", "pings.answer_seconds.p50", Ping(|it| Some(it.answer_seconds.as_ref()?.p50)))
        .row("ping p50")
        .heading(41, "p50"),
    seconds("ping_p99", "pings.answer_seconds.p99", Ping(|it| Some(it.answer_seconds.as_ref()?.p99)))
        .row_with("ping p99", remarks::pinged_late_p99)
        .heading(42, "p99"),
    seconds("ping_p99.9", "pings.answer_seconds.p99_9", Ping(|it| Some(it.answer_seconds.as_ref()?.p99_9)))
        .row("ping p99.9")
        .heading(43, "p99.9"),
    seconds("ping_max", "pings.answer_seconds.max", Ping(|it| Some(it.answer_seconds.as_ref()?.max)))
        .row_with("ping max", remarks::pinged_late_max)
        .heading(44, "max"),
    // Scenario `beside`.
    count("blows", "beside.blows", Neither, Beside(|it| Some(it.blows as f64)))
        .row_with("attack", remarks::attack),
    seconds("alone_p50", "beside.alone_seconds.p50", Beside(|it| Some(it.alone_seconds.as_ref()?.p50)))
        .row("alone p50"),
    seconds("alone_p99", "beside.alone_seconds.p99", Beside(|it| Some(it.alone_seconds.as_ref()?.p99)))
        .row("alone p99"),
    seconds("alone_max", "beside.alone_seconds.max", Beside(|it| Some(it.alone_seconds.as_ref()?.max)))
        .row("alone max"),
    bytes(
        "beside_memory",
        "beside.memory_max_bytes",
        Beside(|it| it.memory_max_bytes.map(|bytes| bytes as f64)),
    )
    .row("memory max"),
    // Scenario `strangers`, whose rows are one for each thing that they do.
    bytes(
        "strangers_memory",
        "strangers.attacks.*.grown_bytes",
        Strangers(|it| Some(it.grown_bytes() as f64)),
    ),
    seconds(
        "strangers_ack_p99",
        "strangers.attacks.*.acknowledged_seconds.p99",
        Strangers(|it| it.acknowledged_p99()),
    ),
    // What was used of the machine.
    seconds("own_cpu", "loadgen.cpu_seconds", Own(|it| Some(it.cpu_seconds)))
        .row_with("own CPU", remarks::own_cpu),
    OWN_CPU_PER_DELIVERY,
    count("busiest_thread", "loadgen.busiest_thread", Less, Own(|it| Some(it.busiest_thread))),
    seconds("server_cpu", "server.cpu_seconds", Server(|it| it.cpu_seconds))
        .row_with("server CPU", remarks::server_cpu),
    SERVER_CPU_PER_DELIVERY,
    SERVER_USER_PER_DELIVERY,
    SERVER_SYSTEM_PER_DELIVERY,
    bytes("server_rss", "server.rss_bytes", Server(|it| it.rss_bytes as f64))
        .row_with("server memory", remarks::server_memory)
        .heading(16, "memory"),
    bytes("server_memory", "server.anonymous_bytes", Server(|it| it.anonymous_bytes as f64)),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::report::assertion::Assertions;
    use crate::report::samples::of_each_kind;

    /// What stands in JSON under a metric's key; the largest, where it stands there several times.
    fn at_key(json: &Value, key: &str) -> Option<f64> {
        match key.split_once('.') {
            Some(("*", rest)) => json
                .as_array()?
                .iter()
                .map(|item| at_key(item, rest))
                .try_fold(0.0_f64, |max, it| Some(max.max(it?))),
            Some((first, rest)) => at_key(&json[first], rest),
            None => json[key].as_f64(),
        }
    }

    #[test]
    fn every_metric_stands_in_the_json_can_be_asserted_and_has_the_row_that_it_says() {
        let mut measured = BTreeSet::new();
        for report in of_each_kind() {
            let (json, text) = (serde_json::to_value(&report).expect("JSON"), report.to_string());
            for metric in METRICS {
                let name = metric.name();
                let any = match metric.unit() {
                    Bytes => format!("{name}!=987654321GiB"),
                    Count => format!("{name}!=987654321"),
                    Seconds => format!("{name}!=987654321s"),
                };
                let failures = any.parse::<Assertions>().expect("a condition").failures(&report);
                let Some(value) = metric.read(&report) else {
                    assert_eq!(failures, [format!("{any}: {name} was not measured")]);
                    continue;
                };
                measured.insert(name);
                assert_eq!(failures, [""; 0], "{name}");
                assert_eq!(at_key(&json, metric.key()), Some(value), "{name} stands at {}", metric.key());
                let has_row = |label| text.lines().any(|line| line.starts_with(&format!("{label:<16}")));
                assert!(metric.label().is_none_or(has_row), "{name} has no row:\n{text}");
            }
        }
        let never = METRICS.iter().filter(|metric| !measured.contains(metric.name()));
        assert_eq!(never.map(Metric::name).collect::<Vec<_>>(), [""; 0], "no sample has these");
    }

    #[test]
    fn no_two_metrics_have_a_name_or_a_place_in_common() {
        let names: BTreeSet<_> = METRICS.iter().map(Metric::name).collect();
        assert_eq!(names.len(), METRICS.len());
        for report in of_each_kind() {
            let mut places: Vec<_> = METRICS
                .iter()
                .filter(|metric| metric.read(&report).is_some())
                .filter_map(|metric| Some(metric.compared()?.place))
                .collect();
            let count = places.len();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), count, "{}", report.scenario);
        }
    }
}
