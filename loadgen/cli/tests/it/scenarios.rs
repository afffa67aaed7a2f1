//! The scenarios that measure more than deliveries, against the real broker and brokers that lie.

use fanfare::config::{AccessConfig, GrantConfig, JwtConfig, TokenConfig};
use fanfare::{Broker, Config};
use fanfare_loadgen::{Assertions, MemberOrder, Report, Stuck};

use crate::liar::{Liar, Lie};
use crate::notices::{deliveries, measure};

/// 200 publications in half a second; all of them are measured.
const BURST: &str = "--rate 400 --duration 500ms --warmup 0s --quiet";

/// A run against the real broker in this process.
async fn with_broker(args: &str) -> Report {
    let broker = Broker::start(Config::for_tests()).await.expect("it starts");
    let line = format!("{args} --url ws://{}/ws --quiet", broker.public_addr());
    let report = measure(&line).await.expect("a report");
    broker.stop().await;
    report
}

async fn with_liar(lie: Lie, args: &str) -> Report {
    let liar = Liar::start(lie).await;
    measure(&format!("{args} --url {}", liar.url)).await.expect("a report")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_measured_before_and_after_a_burst() {
    let pid = std::process::id();
    let args = format!("idle --connections 200 --topics 2 --burst 10 --pause 10ms --server-pid {pid}");
    let report = with_broker(&args).await;
    // Each of the 20 publications goes to half of the connections.
    assert_eq!(
        (deliveries(&report).published.count, deliveries(&report).delivered, deliveries(&report).lost),
        (20, 2000, 0),
        "{report}"
    );
    let idle = report.idle().expect("it is about that");
    assert_eq!(idle.connections, 201, "with the publisher");
    let added = idle.after_burst_bytes as f64 - idle.before_bytes as f64;
    assert_eq!(idle.bytes_per_connection_after_burst, added / 201.0);
    assert!(idle.before_bytes > 0 && idle.connected_bytes > 0, "{idle:?}");
}

#[tokio::test]
async fn idle_connections_without_a_process_are_no_run_at_all() {
    let error = measure("idle --url ws://127.0.0.1:1/ws --quiet").await.expect_err("no process");
    assert!(error.to_string().ends_with("give its --server-pid"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_say_the_order_of_their_members_and_have_all_of_them_in_any() {
    let load = "rooms --rooms 5 --per-room 4 --rate 500 --duration 200ms --warmup 0s";
    for (order, expected) in [
        ("--seed 7", Some(MemberOrder::Random { seed: 7 })),
        ("--seed 7 --target fanfare-raw", Some(MemberOrder::Random { seed: 7 })),
        ("--round-robin", Some(MemberOrder::RoundRobin)),
        ("", None),
    ] {
        let report = with_broker(&format!("{load} {order}")).await;
        assert_eq!((deliveries(&report).delivered, deliveries(&report).lost), (400, 0), "{report}");
        assert_eq!(deliveries(&report).strays, 0, "{report}");
        let told = report.config.member_order;
        match expected {
            Some(order) => assert_eq!(told, Some(order)),
            None => assert!(matches!(told, Some(MemberOrder::Random { .. })), "{told:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_come_and_go() {
    for target in ["fanfare", "fanfare-msgpack", "fanfare-raw"] {
        let pid = std::process::id();
        let args = format!(
            "connect --concurrency 4 --topics 2 --duration 300ms --warmup 50ms --target {target} --server-pid {pid}"
        );
        let report = with_broker(&args).await;
        let connects = report.connects().expect("it is about that");
        assert!(connects.count > 4, "each came back: {report}");
        assert_eq!((connects.failed, report.troubles.len()), (0, 0), "{report}");
        let (ready, closed) = (connects.ready_seconds.as_ref(), connects.closed_seconds.as_ref());
        assert!(ready.expect("some").p50 <= closed.expect("some").p50, "{report}");
        assert!(connects.server_cpu_seconds_each.is_some(), "{report}");
        let warned = report.warnings.iter().any(|it| it.starts_with("fanfare-raw confirms no subscription"));
        assert_eq!(warned, target == "fanfare-raw", "{report}");
    }
}

#[tokio::test]
async fn connections_that_cannot_subscribe_are_failures() {
    let args = "connect --concurrency 2 --duration 100ms --warmup 0s --quiet";
    let report = with_liar(Lie::RefuseSubscribers, args).await;
    let connects = report.connects().expect("it is about that");
    assert_eq!(connects.count, 0);
    assert!(connects.failed >= 2);
    assert_eq!(report.troubles[0].what, "connection: cannot subscribe: refused: forbidden: no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_subscribers_are_told_exactly_what_they_missed_and_others_miss_nothing() {
    let pid = std::process::id();
    // More than the kernel and the topic together keep for those that do not read.
    let args = format!(
        "stuck --subscribers 10 --share 20 --rate 200 --size 16000 --duration 1s --warmup 100ms --server-pid {pid}"
    );
    let report = with_broker(&args).await;
    assert_eq!(
        (deliveries(&report).delivered, deliveries(&report).lost, deliveries(&report).disconnected),
        (8 * 200, 0, 0),
        "{report}"
    );
    let stuck = report.stuck().expect("it is about that");
    assert_eq!((stuck.subscribers, stuck.delivered + stuck.missed), (2, 2 * 220), "{report}");
    assert!(stuck.missed > 0, "the scenario is too small: {report}");
    assert_eq!((stuck.told, stuck.lost, stuck.over_told), (stuck.missed, 0, 0), "{report}");
    assert_eq!((stuck.duplicates, stuck.out_of_order, stuck.disconnected), (0, 0, 0), "{report}");
    let memory = stuck.memory.as_ref().expect("sampled");
    assert!(memory.samples.len() >= 8 && memory.max_bytes > 0, "{memory:?}");
}

/// What one stuck subscriber of three finds; the others' faults are counted elsewhere.
async fn stuck_with_liar(lie: Lie) -> Stuck {
    let report = with_liar(lie, &format!("stuck --subscribers 3 --share 34 {BURST} {}", lie.grace())).await;
    report.stuck().expect("it is about that").clone()
}

#[tokio::test]
async fn what_stuck_subscribers_missed_counts_as_lost_where_nobody_told_them() {
    let silent = stuck_with_liar(Lie::Drop).await;
    assert_eq!((silent.delivered, silent.missed, silent.told, silent.lost), (180, 20, 0, 20));
    let told = stuck_with_liar(Lie::DropAndTell).await;
    assert_eq!((told.delivered, told.missed, told.told, told.lost), (180, 20, 20, 0));
    assert_eq!((silent.over_told, told.over_told), (0, 0));
    let exaggerated = stuck_with_liar(Lie::DropAndExaggerate).await;
    assert_eq!((exaggerated.missed, exaggerated.told, exaggerated.over_told), (20, 2000, 1980));
    let closed = stuck_with_liar(Lie::Close(4508)).await;
    assert_eq!((closed.delivered, closed.missed, closed.told, closed.lost), (49, 151, 151, 0));
    assert_eq!(closed.disconnected, 1);
    let doubled = stuck_with_liar(Lie::Duplicate).await;
    assert_eq!((doubled.delivered, doubled.duplicates, doubled.out_of_order), (200, 20, 0));
    let swapped = stuck_with_liar(Lie::Swap).await;
    assert_eq!((swapped.delivered, swapped.lost, swapped.out_of_order), (199, 1, 19));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_are_cut_off_recover_and_miss_nothing() {
    for target in ["fanfare", "fanfare-msgpack"] {
        let report = with_broker(&format!(
            "resume --subscribers 40 --topics 4 --publishers 2 --rate 400 --duration 1s --warmup 100ms \
             --cut-after 300ms --target {target}"
        ))
        .await;
        let seen = (
            deliveries(&report).delivered,
            deliveries(&report).lost,
            deliveries(&report).duplicates,
            deliveries(&report).out_of_order,
            deliveries(&report).gaps,
        );
        assert_eq!(seen, (10 * 400, 0, 0, 0, 0), "{report}");
        let resume = report.resume().expect("it is about that");
        assert_eq!((resume.cut_off, resume.caught_up, resume.recovered, resume.reloads), (40, 40, 40, 0));
        let back = resume.back_seconds.as_ref().expect("all came back");
        let caught_up = resume.caught_up_seconds.as_ref().expect("all came back");
        assert!(back.p50 > 0.0 && back.max <= caught_up.max, "{report}");
    }
}

#[tokio::test]
async fn those_who_come_back_notice_what_was_kept_from_them() {
    let args = format!("resume --subscribers 3 --topics 1 --cut-after 200ms {BURST} --grace 300ms");
    let forgotten = with_liar(Lie::Forget, &args).await;
    let resume = forgotten.resume().expect("it is about that");
    assert_eq!((resume.recovered, resume.reloads, resume.replayed), (3, 0, 0));
    assert!(deliveries(&forgotten).lost >= 3 * 30, "100 ms of 400/s: {forgotten}");
    let reload = with_liar(Lie::Reload, &args).await.resume().expect("it is about that").clone();
    assert_eq!((reload.caught_up, reload.recovered, reload.reloads), (3, 0, 3));
}

#[tokio::test]
async fn who_has_no_positions_cannot_resume() {
    let error = measure("resume --target fanfare-raw").await.expect_err("no positions");
    assert!(error.to_string().contains("choose --target fanfare"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_acknowledged_by_every_way() {
    let pid = std::process::id();
    for way in [
        "--via websocket",
        "--via websocket --target fanfare-msgpack --publishers 3 --topics 5 --window 2",
        "--via http --publishers 3 --topics 2",
        "--via http --window 20",
        "--via client --publishers 2 --window 100",
        "--via websocket --bystanders 30",
        "--via http --publishers 2 --topics 2 --bystanders 5 --target fanfare-raw",
    ] {
        let line = format!("ingest {way} --duration 200ms --warmup 50ms --server-pid {pid}");
        let report = with_broker(&line).await;
        let ingest = report.ingest().expect("it is about that");
        assert!(ingest.acknowledged > 0 && ingest.acknowledged_seconds.is_some(), "{report}");
        assert_eq!((ingest.refused, ingest.unacknowledged, report.troubles.len()), (0, 0, 0), "{report}");
        assert!(ingest.server_cpu_seconds_each.is_some(), "{report}");
    }
}

#[tokio::test]
async fn what_is_refused_or_never_acknowledged_is_not_counted_as_acknowledged() {
    let args = "ingest --window 10 --publishers 2 --duration 200ms --warmup 0s --quiet";
    let refused = with_liar(Lie::Refuse, args).await.ingest().expect("it is about that").clone();
    let all = refused.acknowledged + refused.refused;
    assert!(refused.refused > 0 && refused.refused.abs_diff(all / 10) <= 20, "one in ten: {refused:?}");
    let silent = with_liar(Lie::KeepSilent, args).await.ingest().expect("it is about that").clone();
    assert_eq!((silent.acknowledged, silent.refused, silent.unacknowledged), (0, 0, 20));
}

#[tokio::test]
async fn ingest_is_refused_where_nothing_is_acknowledged() {
    for (args, why) in [
        ("--target fanfare-raw", "acknowledges no publications"),
        ("--target bun --via http", "is for Fanfare"),
        ("--window 0", "--window must be 1"),
        ("--publishers 0", "--publishers must be 1"),
    ] {
        let error = measure(&format!("ingest {args}")).await.expect_err(args);
        assert!(error.to_string().contains(why), "{error} should say {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_rate_is_looked_for_until_one_fails() {
    // Nothing is as fast as that: every rate fails, twice, until the last one would publish nothing.
    let args = "fanout --subscribers 3 --rate 64 --duration 50ms --warmup 0s --find-max --find-max-p99 1ns";
    let report = with_broker(args).await;
    let find_max = report.find_max().expect("it is about that");
    assert_eq!(find_max.rate, None);
    let rates: Vec<f64> = find_max.steps.iter().map(|step| step.rate).collect();
    assert_eq!(rates, [64.0, 64.0, 32.0, 32.0], "{report}");
    assert_eq!(deliveries(&report).rate, 64.0, "the figures are those of the first step");
    assert!(find_max.steps.iter().all(|step| step.failure.as_deref() == Some("p99 above the limit")));
}

#[tokio::test]
async fn a_rate_at_which_something_is_lost_is_none_that_the_broker_keeps_up_with() {
    // Of so few publications none is the tenth at first, and of twice as many one is.
    let args = "rooms --rooms 1 --per-room 2 --rate 60 --duration 100ms --warmup 0s --grace 100ms --quiet";
    let report = with_liar(Lie::Drop, &format!("{args} --find-max --find-max-p99 1m")).await;
    let find_max = report.find_max().expect("it is about that");
    assert!(find_max.steps.iter().any(|step| step.lost > 0), "{find_max:?}");
    for step in &find_max.steps {
        assert_eq!(step.lost == 0, step.failure.is_none(), "{step:?}");
    }
    let rate = find_max.rate.expect("the first one works");
    assert!((60.0..100.0).contains(&rate), "{find_max:?}");
}

#[tokio::test]
async fn a_rate_at_which_there_is_no_run_does_not_end_the_search() {
    let args = "fanout --subscribers 2 --rate 100 --duration 100ms --warmup 0s --grace 10s --quiet";
    let find_max = "--find-max --find-max-p99 1m";
    let report = with_liar(Lie::RefuseSubscribersLater, &format!("{args} {find_max}")).await;
    let found = report.find_max().expect("it is about that");
    assert_eq!((found.rate, deliveries(&report).delivered), (Some(100.0), 20), "{report}");
    assert!(found.steps.len() > 2, "it closed in: {report}");
    for step in &found.steps[1..] {
        assert!(step.failure.as_ref().is_some_and(|why| why.starts_with("cannot subscribe")), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_of_publishers_without_pause_is_asked_and_their_shares_are_counted() {
    let pid = std::process::id();
    let args = format!(
        "neighbour --subscribers 3 --publishers 2 --array 10 --listeners 2 --duration 300ms --warmup 50ms --server-pid {pid}"
    );
    let report = with_broker(&args).await;
    let neighbour = report.neighbour().expect("it is about that");
    assert!(neighbour.answers > 0 && neighbour.answer_seconds.is_some(), "{report}");
    assert_eq!(neighbour.shares.len(), 2, "{report}");
    assert!(neighbour.shares.iter().all(|share| share % 10 == 0), "whole messages: {report}");
    assert_eq!((neighbour.listeners, neighbour.listeners_closed), (2, 0), "{report}");
    assert!(neighbour.share_ratio >= 1.0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_by_every_way() {
    let pid = std::process::id();
    for (way, via) in [
        ("", "protocol"),
        ("--target fanfare-msgpack --connections 3", "protocol"),
        ("--via frame --connections 5 --threads 2", "frame"),
        ("--target fanfare-raw", "frame"),
    ] {
        let load = "ping --interval 5ms --duration 300ms --warmup 50ms --grace 30s";
        let report = with_broker(&format!("{load} {way} --server-pid {pid}")).await;
        let pings = report.pings().expect("it is about that");
        assert_eq!((pings.via.as_str(), pings.count), (via, 60 * u64::from(pings.connections)), "{report}");
        assert_eq!(
            (pings.answered, pings.unanswered, report.troubles.len()),
            (pings.count, 0, 0),
            "{report}"
        );
        assert!(pings.answer_seconds.is_some() && pings.sent_late_seconds.is_some(), "{report}");
        assert!(report.server.is_some(), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_cannot_hide_it_from_those_that_were_due_meanwhile() {
    // It takes nothing for half of the second, in which half of the pings are due. Who waited for each answer before
    // the next ping would see one that is slow.
    let args = "ping --interval 5ms --duration 1s --warmup 0s --grace 30s --quiet";
    let report = with_liar(Lie::Stall, args).await;
    let pings = report.pings().expect("it is about that");
    assert_eq!((pings.count, pings.answered, pings.unanswered), (200, 200, 0), "{report}");
    let times = pings.answer_seconds.as_ref().expect("all");
    assert!(times.max >= 0.5, "the one before which it stalled: {report}");
    // Of the hundred that follow it, due 5 ms apart, sixty waited for 200 ms and more.
    assert!(times.p90 >= 0.35, "the tenth that waited longest: {report}");
    let failures = |conditions: &str| conditions.parse::<Assertions>().expect("conditions").failures(&report);
    assert_eq!(failures("ping_max<50ms,unanswered=0").len(), 1, "{report}");
    // With less patience the same are unanswered, however soon the server goes on.
    let hasty = with_liar(Lie::Stall, &args.replace("30s", "200ms")).await;
    let pings = hasty.pings().expect("it is about that");
    assert!(pings.unanswered >= 60 && pings.answered + pings.unanswered == 200, "{hasty}");
    let failures = "unanswered=0".parse::<Assertions>().expect("a condition").failures(&hasty);
    assert_eq!(failures, [format!("unanswered=0: unanswered is {}", pings.unanswered)]);
}

#[tokio::test]
async fn a_ping_without_an_answer_is_told_and_no_other_answer_stands_for_it() {
    let args = "ping --interval 5ms --duration 500ms --warmup 0s --grace 5s --quiet";
    let report = with_liar(Lie::Unanswer, args).await;
    let pings = report.pings().expect("it is about that");
    assert_eq!((pings.count, pings.answered, pings.unanswered), (100, 90, 10), "{report}");
    // They have waited for that long at least.
    assert!(pings.answer_seconds.as_ref().expect("all").max >= 5.0, "{report}");
}

#[tokio::test]
async fn ping_is_refused_where_it_would_be_none() {
    for (args, why) in [
        ("--target bun --via protocol", "--via protocol is for fanfare"),
        ("--connections 0", "--connections must be at least 1"),
        ("--interval 1us", "--interval must be 100µs to"),
        ("--interval 2s --duration 1s", "--interval must be"),
    ] {
        let error = measure(&format!("ping {args}")).await.expect_err(args);
        assert!(error.to_string().contains(why), "{error} should say {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_one_thing_after_the_other() {
    let mut config = Config::for_tests();
    let all = vec!["*".to_owned()];
    let may = TokenConfig {
        user: "publisher".into(),
        token: Some("a-token-for-tests".into()),
        subscribe: all.clone(),
        publish: all,
        ..TokenConfig::default()
    };
    config.access = Some(AccessConfig { token: vec![may], ..AccessConfig::default() });
    let broker = Broker::start(config).await.expect("it starts");
    let line = format!(
        "strangers --strangers 4 --token a-token-for-tests --duration 200ms --warmup 50ms --quiet --server-pid {} \
         --url ws://{}/ws",
        std::process::id(),
        broker.public_addr()
    );
    let report = measure(&line).await.expect("a report");
    broker.stop().await;
    let strangers = report.strangers().expect("it is about that");
    assert!(strangers.attacks.len() >= 8 && strangers.before_bytes > 0, "{report}");
    for attack in &strangers.attacks {
        assert!(
            attack.acknowledged > 0 && attack.acknowledged_seconds.is_some(),
            "{}: {report}",
            attack.name
        );
    }
    assert_eq!(report.troubles.len(), 0, "{report}");
}

#[tokio::test]
async fn strangers_are_for_those_who_may_do_nothing() {
    let error =
        measure("strangers --target nats --url ws://127.0.0.1:1/ --quiet").await.expect_err("not Fanfare");
    assert!(error.to_string().contains("Fanfare alone"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_each_attack_somebody_is_served_as_well_as_alone() {
    let mut config = Config::for_tests();
    let everything =
        GrantConfig { subscribe: vec!["*".into()], publish: vec!["*".into()], ..GrantConfig::default() };
    let key = JwtConfig { secret: Some("nobody of these has this secret".repeat(2)), ..JwtConfig::default() };
    config.access = Some(AccessConfig { anonymous: everything, jwt: vec![key], ..AccessConfig::default() });
    let broker = Broker::start(config).await.expect("it starts");
    for attack in ["subscriptions", "topics", "publications", "connections", "handshakes", "tokens"] {
        let line = format!(
            "beside --attack {attack} --attackers 3 --duration 300ms --warmup 50ms --grace 10s --quiet --server-pid {} \
             --url ws://{}/ws",
            std::process::id(),
            broker.public_addr()
        );
        let report = measure(&line).await.expect("a report");
        let (beside, deliveries) = (report.beside().expect("it is about that"), report.deliveries());
        assert_eq!((beside.attack.as_str(), beside.attackers), (attack, 3), "{report}");
        assert!(beside.blows >= 3 && beside.alone_seconds.is_some(), "{report}");
        assert!(beside.memory_max_bytes.is_some_and(|bytes| bytes > 0), "{report}");
        let (delivered, lost) = deliveries.map(|it| (it.delivered, it.lost)).expect("they are measured");
        assert_eq!((delivered, lost, report.troubles.len()), (15, 0, 0), "{report}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn an_attack_is_one_of_those_that_there_are_and_on_fanfare() {
    for (args, why) in [
        ("--attack tokens --target nats --url ws://127.0.0.1:1/", "Fanfare alone"),
        ("--attack tokens --attackers 0", "--attackers must be at least 1"),
    ] {
        let error = measure(&format!("beside {args} --quiet")).await.expect_err(args);
        assert!(error.to_string().contains(why), "{error} should say {why}");
    }
}
