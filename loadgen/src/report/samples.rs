//! Reports for tests, in which nothing is zero that should show.

use super::{
    Attack, Beside, Config, Connects, Deliveries, FindMax, Findings, Idle, Ingest, MemoryOverTime, Neighbour,
    OwnUsage, Pings, Published, Quantiles, Report, Resume, ServerUsage, Step, Strangers, Stuck, Trouble,
};

pub(crate) fn quantiles() -> Quantiles {
    Quantiles { p50: 0.001, p90: 0.005, p99: 0.012, p99_9: 0.02, p99_99: 0.03, max: 0.0312 }
}

pub(crate) fn deliveries() -> Deliveries {
    Deliveries {
        rate: 1000.0,
        published: Published { count: 5, per_second: 999.5, offered_per_second: 1000.0, errors: 1 },
        delivered: 4997,
        delivered_per_second: 1_000_000.0,
        lost: 3,
        holes: Some(2),
        duplicates: 4,
        out_of_order: 5,
        gaps: 2,
        over_told: 1,
        strays: 6,
        disconnected: 7,
        latency_seconds: Some(quantiles()),
        sent_late_seconds: Some(quantiles()),
    }
}

/// A report in which nothing is zero that should show.
pub(crate) fn report() -> Report {
    Report {
        scenario: "fanout".into(),
        config: Config {
            target: "fanfare".into(),
            url: "ws://127.0.0.1:8000/ws".into(),
            server: "the one given".into(),
            subscribers: 1000,
            by_client: true,
            topics: 1,
            topics_each: 1,
            publishers: 2,
            size_bytes: 128,
            duration_seconds: 5.0,
            warmup_seconds: 0.5,
            member_order: None,
            threads: 2,
            confirmed: "one publication in 64 is confirmed".into(),
            pinned: Some("servers on processor 0, load generator on processor 1".into()),
        },
        findings: Findings::Steady(deliveries()),
        loadgen: OwnUsage { cpu_seconds: 3.21, cpu_seconds_per_delivery: Some(642e-6), busiest_thread: 0.64 },
        server: Some(ServerUsage {
            pids: vec![42],
            processes: 3,
            cpu_seconds: 4.5,
            user_seconds: 0.4,
            system_seconds: 4.1,
            cpu_seconds_per_delivery: Some(0.9e-6),
            user_seconds_per_delivery: Some(80e-9),
            system_seconds_per_delivery: Some(820e-9),
            rss_bytes: 20_971_520,
            rss_before_bytes: 10_485_760,
            anonymous_bytes: 15_728_640,
            anonymous_before_bytes: 5_242_880,
        }),
        server_ended_seconds: Some(3.04),
        troubles: vec![Trouble { what: "subscriber closed by the broker with 4508".into(), count: 7 }],
        warnings: vec!["the load generator was busy".into()],
    }
}

pub(crate) fn connects() -> Connects {
    Connects {
        count: 900,
        per_second: 300.0,
        failed: 1,
        concurrency: 64,
        ready_seconds: Some(quantiles()),
        closed_seconds: Some(quantiles()),
        server_cpu_seconds_each: Some(80e-6),
        server_user_seconds_each: Some(30e-6),
    }
}

fn ingest() -> Ingest {
    Ingest {
        via: "websocket".into(),
        window: 512,
        bystanders: 30,
        acknowledged: 4000,
        acknowledged_per_second: 800.0,
        refused: 2,
        unacknowledged: 3,
        acknowledged_seconds: Some(quantiles()),
        server_cpu_seconds_each: Some(5e-6),
        server_user_seconds_each: Some(2e-6),
    }
}

fn idle() -> Idle {
    Idle {
        connections: 5001,
        before_bytes: 1_000_000,
        connected_bytes: 6_000_000,
        after_burst_bytes: 7_000_000,
        bytes_per_connection: 999.8,
        bytes_per_connection_after_burst: 1199.7,
    }
}

fn resume() -> Resume {
    Resume {
        cut_off: 9,
        caught_up: 8,
        recovered: 7,
        reloads: 1,
        replayed: 50,
        failed_attempts: 2,
        back_seconds: Some(quantiles()),
        caught_up_seconds: Some(quantiles()),
    }
}

fn stuck() -> Stuck {
    Stuck {
        subscribers: 2,
        delivered: 300,
        missed: 140,
        told: 139,
        lost: 1,
        over_told: 4,
        duplicates: 5,
        out_of_order: 6,
        disconnected: 1,
        memory: MemoryOverTime::of((0..=10).map(|s| (f64::from(s), 1000 + 50 * s as u64)).collect()),
    }
}

fn neighbour() -> Neighbour {
    Neighbour {
        answers: 70,
        answer_seconds: Some(quantiles()),
        shares: vec![100, 150],
        share_ratio: 1.5,
        listeners: 10,
        listeners_closed: 1,
        subscribers_closed: 2,
    }
}

pub(crate) fn pings() -> Pings {
    Pings {
        connections: 3,
        interval_seconds: 0.01,
        via: "frame".into(),
        count: 1500,
        answered: 1498,
        unanswered: 2,
        answer_seconds: Some(quantiles()),
        sent_late_seconds: Some(quantiles()),
    }
}

fn strangers() -> Strangers {
    let attack = |name: &str, acknowledged_seconds, grown_bytes| Attack {
        name: name.into(),
        acknowledged: 60,
        acknowledged_seconds,
        grown_bytes,
    };
    let slower = Quantiles { p99: 0.02, ..quantiles() };
    let attacks =
        vec![attack("half a head", Some(quantiles()), 4096), attack("half a body", Some(slower), 2048)];
    Strangers { strangers: 800, before_bytes: 1_000_000, attacks }
}

fn beside() -> Beside {
    Beside {
        attack: "topics".into(),
        attackers: 200,
        blows: 4000,
        alone_seconds: Some(quantiles()),
        memory_max_bytes: Some(9_000_000),
    }
}

fn find_max() -> FindMax {
    let step = |rate, failure: Option<&str>| Step {
        rate,
        delivered_per_second: 1000.0 * rate,
        p99_seconds: Some(0.02),
        lost: 0,
        busiest_thread: 0.5,
        failure: failure.map(str::to_owned),
    };
    let steps = vec![step(1000.0, None), step(2000.0, Some("p99 above the limit"))];
    FindMax { p99_limit_seconds: 0.05, rate: Some(1000.0), steps }
}

/// A report of each kind.
pub(crate) fn of_each_kind() -> [Report; 11] {
    [
        Findings::Steady(deliveries()),
        Findings::FindMax(deliveries(), find_max()),
        Findings::Idle(deliveries(), idle()),
        Findings::Resume(deliveries(), resume()),
        Findings::Stuck(deliveries(), stuck()),
        Findings::Beside(deliveries(), beside()),
        Findings::Connect(connects()),
        Findings::Ingest(ingest()),
        Findings::Neighbour(neighbour()),
        Findings::Ping(pings()),
        Findings::Strangers(strangers()),
    ]
    .map(|findings| Report { findings, ..report() })
}
