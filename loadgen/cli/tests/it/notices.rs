//! Whatever a broker does wrong is noticed, and nothing else is.

use clap::Parser as _;
use fanfare_loadgen::{Cli, Command, Deliveries, Report, Scenario};

use crate::liar::{Liar, Lie};

/// 200 publications to 3 subscribers in half a second; all of them are measured.
const ARGS: &str = "--rate 400 --duration 500ms --warmup 0s --quiet";
const PUBLISHED: u64 = 200;
const DELIVERED: u64 = 3 * PUBLISHED;

async fn try_run(lie: Lie, args: &str) -> anyhow::Result<Report> {
    let liar = Liar::start(lie).await;
    measure(&format!("fanout --subscribers 3 --url {} {ARGS} {} {args}", liar.url, lie.grace())).await
}

pub(crate) async fn measure(line: &str) -> anyhow::Result<Report> {
    fanfare_loadgen::measure(&scenario(line)?).await
}

/// The scenario of a command line.
pub(crate) fn scenario(line: &str) -> anyhow::Result<Scenario> {
    let line = ["fanfare-loadgen"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(line)?.command {
        Command::Scenario(scenario) => Ok(scenario),
        other => anyhow::bail!("{other:?} is no scenario"),
    }
}

async fn run(lie: Lie, args: &str) -> Report {
    try_run(lie, args).await.expect("a report")
}

/// What came of publications by a schedule.
pub(crate) fn deliveries(report: &Report) -> &Deliveries {
    report.deliveries().expect("it publishes by a schedule")
}

/// What must be zero where nothing went wrong.
fn faults(report: &Report) -> [(&'static str, u64); 8] {
    let report = deliveries(report);
    [
        ("lost", report.lost),
        ("duplicates", report.duplicates),
        ("out of order", report.out_of_order),
        ("gaps", report.gaps),
        ("over-told", report.over_told),
        ("strays", report.strays),
        ("disconnected", report.disconnected),
        ("publish errors", report.published.errors),
    ]
}

/// Checks that the report shows these faults and no other.
#[track_caller]
fn assert_faults(report: &Report, expected: &[(&'static str, u64)]) {
    let seen: Vec<_> = faults(report).into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(seen, expected, "{report}");
}

#[tokio::test]
async fn an_honest_broker_has_no_faults() {
    for (args, delivered) in [
        ("", DELIVERED),
        ("--target fanfare-msgpack --size 35", DELIVERED),
        // The first topic has two of the three subscribers.
        ("--topics 2 --publishers 3 --threads 1", PUBLISHED / 2 * 2 + PUBLISHED / 2),
        ("--topics 4 --publishers 2 --size 5000", PUBLISHED / 4 * 3),
    ] {
        let report = run(Lie::None, args).await;
        assert_faults(&report, &[]);
        assert!(report.troubles.is_empty(), "{report}");
        assert_eq!(
            (deliveries(&report).published.count, deliveries(&report).delivered),
            (PUBLISHED, delivered),
            "{report}"
        );
        let latency = deliveries(&report).latency_seconds.as_ref().expect("there were deliveries");
        assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    }
}

#[tokio::test]
async fn losses_are_counted() {
    assert_faults(&run(Lie::Drop, "").await, &[("lost", 60)]);
    assert_faults(&run(Lie::Drop, "--target fanfare-msgpack --publishers 3").await, &[("lost", 60)]);
}

#[tokio::test]
async fn losses_are_counted_in_rooms_and_in_a_mesh() {
    for (scenario, lost) in [
        // The tenth publication is always one to the second room.
        ("rooms --rooms 2 --per-room 3", 60),
        ("mesh --subscribers 3 --topics 2 --topics-each 2 --publishers 1", 60),
    ] {
        let liar = Liar::start(Lie::Drop).await;
        let report =
            measure(&format!("{scenario} --url {} {ARGS} --grace 300ms", liar.url)).await.expect("a report");
        assert_faults(&report, &[("lost", lost)]);
    }
}

#[tokio::test]
async fn one_topic_a_connection_is_too_few_for_a_mesh() {
    let error = measure("mesh --target fanfare-raw --url ws://127.0.0.1:1/ws")
        .await
        .expect_err("no such subscription");
    assert!(
        error
            .to_string()
            .contains("mesh subscribes to several topics on a connection, and fanfare-raw has one"),
        "{error}"
    );
}

#[tokio::test]
async fn gaps_are_counted_apart_and_are_losses_still() {
    assert_faults(&run(Lie::DropAndTell, "").await, &[("lost", 60), ("gaps", 60)]);
}

#[tokio::test]
async fn duplicates_are_counted_and_are_no_deliveries() {
    let report = run(Lie::Duplicate, "").await;
    assert_faults(&report, &[("duplicates", 60)]);
    assert_eq!(deliveries(&report).delivered, DELIVERED);
}

#[tokio::test]
async fn a_wrong_order_is_counted_within_a_publisher_alone() {
    let report = run(Lie::Swap, "").await;
    // The very last one is held back for good.
    assert_faults(&report, &[("lost", 3), ("out of order", 57)]);
    // Neighbours are of different publishers now, unless a busy machine lets one of them get ahead.
    let report = run(Lie::Swap, "--publishers 2").await;
    assert_eq!((deliveries(&report).lost, deliveries(&report).duplicates), (3, 0), "{report}");
    assert!(deliveries(&report).out_of_order < 57 / 2, "{report}");
}

#[tokio::test]
async fn what_was_altered_or_meant_for_others_is_a_stray() {
    let altered = run(Lie::Alter, "").await;
    assert_faults(&altered, &[("lost", 60), ("strays", 60)]);
    let everywhere = run(Lie::Everywhere, "--topics 2").await;
    // Half of the publications were meant for two of the three subscribers, half for the third.
    assert_faults(&everywhere, &[("strays", PUBLISHED / 2 * 3)]);
}

#[tokio::test]
async fn a_payload_of_which_the_stamp_alone_is_left_is_a_stray() {
    let rewritten = [("lost", 60), ("strays", 60)];
    assert_faults(&run(Lie::Rewrite, "").await, &rewritten);
    assert_faults(&run(Lie::Rewrite, "--target fanfare-msgpack --size 5000").await, &rewritten);
}

#[tokio::test]
async fn what_is_not_around_a_payload_as_it_should_be_is_noticed_in_one_message_of_64() {
    // Each subscriber decodes three of its 200.
    assert_faults(&run(Lie::Misdirect, "").await, &[("lost", 9), ("strays", 9)]);
    let miscounted = run(Lie::Miscount, "").await;
    assert_faults(&miscounted, &[("lost", 9), ("strays", 9)]);
    let what = "subscriber got a publication with an offset that it cannot have";
    assert_eq!(miscounted.troubles[0].what, what);
    let mumbled = run(Lie::Mumble, "").await;
    assert!(deliveries(&mumbled).strays >= 9 && deliveries(&mumbled).disconnected == 0, "{mumbled}");
}

#[tokio::test]
async fn a_stamp_is_not_believed_where_the_schedule_says_otherwise() {
    let report = run(Lie::Backdate, "--size 35").await;
    assert_faults(&report, &[("lost", 60), ("strays", 60)]);
    let what = "subscriber got a publication with another stamp than it was given";
    assert_eq!((report.troubles[0].what.as_str(), report.troubles[0].count), (what, 60));
    assert_faults(&run(Lie::Belittle, "--size 35").await, &[("strays", 60)]);
}

#[tokio::test]
async fn doubles_are_counted_during_warm_up_and_long_after_all_is_there() {
    let liar = Liar::start(Lie::Duplicate).await;
    let warm_up = "--subscribers 3 --rate 400 --warmup 450ms --duration 50ms --grace 10s --quiet";
    let report = measure(&format!("fanout --url {} {warm_up}", liar.url)).await.expect("a report");
    assert_faults(&report, &[("duplicates", 60)]);
    assert_faults(&run(Lie::DuplicateLater, "").await, &[("duplicates", 60)]);
}

#[tokio::test]
async fn more_told_than_missed_is_counted() {
    let report = run(Lie::DropAndExaggerate, "").await;
    assert_faults(&report, &[("lost", 60), ("gaps", 6000), ("over-told", 5940)]);
    let assertions: fanfare_loadgen::Assertions = "over_told=0".parse().expect("a condition");
    assert_eq!(assertions.failures(&report), ["over_told=0: over_told is 5,940"]);
}

#[tokio::test]
async fn publications_refused_or_never_confirmed_are_publish_errors() {
    let refused = run(Lie::Refuse, "").await;
    assert_faults(&refused, &[("lost", 60), ("publish errors", 20)]);
    assert_eq!(refused.troubles[0].what, "publisher refused: rate_limited: no");
    assert_faults(&run(Lie::KeepSilent, "").await, &[("publish errors", PUBLISHED)]);
}

#[tokio::test]
async fn subscribers_that_were_closed_are_counted_with_the_code() {
    let report = run(Lie::Close(4508), "").await;
    assert_faults(&report, &[("lost", DELIVERED - 3 * 49), ("disconnected", 3)]);
    assert_eq!(report.troubles[0].what, "subscriber closed by the broker with 4508");
    assert_eq!(report.troubles[0].count, 3);
}

#[tokio::test]
async fn what_could_not_be_sent_because_the_publisher_was_closed_is_lost() {
    let report = run(Lie::HangUp, "").await;
    let published = deliveries(&report).published.count;
    assert!((49..PUBLISHED).contains(&published), "it was closed half-way: {report}");
    assert_faults(&report, &[("lost", DELIVERED - 3 * 49), ("publish errors", PUBLISHED)]);
    assert_eq!(deliveries(&report).holes, Some(0), "nothing newer came: {report}");
}

#[tokio::test]
async fn what_something_newer_has_overtaken_is_a_hole() {
    // The last one is dropped too, and nothing newer follows it.
    assert_eq!(deliveries(&run(Lie::Drop, "").await).holes, Some(60 - 3));
    assert_eq!(deliveries(&run(Lie::Close(4508), "").await).holes, Some(0));
    assert_eq!(deliveries(&run(Lie::None, "").await).holes, Some(0));
}

#[tokio::test]
async fn pings_are_answered() {
    assert_faults(&run(Lie::Ping, "").await, &[]);
}

#[tokio::test]
async fn a_broker_that_stalls_cannot_hide_it() {
    let report = run(Lie::Stall, "").await;
    assert_faults(&report, &[]);
    let latency = deliveries(&report).latency_seconds.as_ref().expect("there were deliveries");
    // The schedule went on while the broker slept: nine in ten waited for 50 ms or more.
    assert!(latency.max >= 0.499 && latency.p50 >= 0.2, "{latency:?}");
    assert!(latency.p90 >= 0.4, "{latency:?}");
}

#[tokio::test]
async fn a_subscription_refused_is_no_run_at_all() {
    let error = try_run(Lie::RefuseSubscribers, "").await.expect_err("nothing to measure");
    assert_eq!(format!("{error:#}"), "cannot subscribe: refused: forbidden: no");
}

#[tokio::test]
async fn nobody_there_is_no_run_at_all() {
    let error = measure("fanout --url ws://127.0.0.1:1/ws --quiet").await.expect_err("port 1 is closed");
    assert!(format!("{error:#}").starts_with("cannot connect to 127.0.0.1:1: "), "{error:#}");
}

#[tokio::test]
async fn more_than_a_publisher_may_hold_back_can_be_due_at_once() {
    // Two megabytes within a tenth of a millisecond.
    let liar = Liar::start(Lie::None).await;
    let load = "--subscribers 3 --rate 1000000 --duration 100us --warmup 0s --size 20000 --grace 10s --quiet";
    let report = measure(&format!("fanout {load} --url {}", liar.url)).await.expect("a report");
    assert_faults(&report, &[]);
    assert_eq!(deliveries(&report).delivered, 300, "{report}");
}
