//! What came of a run, for people and for programs. It must know neither who makes it nor who reads it.

pub mod assertion;
mod config;
mod quantiles;
mod row;
mod sections;
mod sections_text;
mod text;
pub mod unit;
mod usage;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::config::Config;
pub use self::quantiles::Quantiles;
pub use self::sections::{
    Attack, Connects, FindMax, Idle, Ingest, MemoryOverTime, Neighbour, Resume, Step, Strangers, Stuck,
};
pub use self::usage::{OwnUsage, ServerUsage};

/// What came of a run. All in base units: seconds, bytes, counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which scenario it was.
    pub scenario: String,
    /// What was asked for.
    pub config: Config,
    /// What the publishers did.
    pub published: Published,
    /// How many measured publications reached their subscribers, each counted once for each of them.
    pub delivered: u64,
    /// The same, by the second.
    pub delivered_per_second: f64,
    /// How many should have and did not, those of publications refused or not sent included.
    pub lost: u64,
    /// How many of these were missing although something newer of the same publisher and topic came to the
    /// same subscriber: they are no longer under way. Not known of older reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holes: Option<u64>,
    /// How many came more than once.
    pub duplicates: u64,
    /// How many came after a newer one of the same publisher and topic.
    pub out_of_order: u64,
    /// How many publications the broker said were missed. They count as lost too.
    pub gaps: u64,
    /// How many more the broker said that subscribers had missed than each of them had. Not known of older reports.
    #[serde(default)]
    pub over_told: u64,
    /// Messages that the subscriber had not asked for, or that came back changed.
    pub strays: u64,
    /// Subscribers that did not stay connected.
    pub disconnected: u64,
    /// From the moment a publication was due until a subscriber had read it; none if nothing came.
    pub latency_seconds: Option<Quantiles>,
    /// From the moment a publication was due until it was sent: the load generator's own share of the
    /// latency, and the broker's where it takes publications slowly.
    pub sent_late_seconds: Option<Quantiles>,
    /// What the load generator itself used while it measured.
    pub loadgen: OwnUsage,
    /// What the broker used meanwhile, where its process is known.
    pub server: Option<ServerUsage>,
    /// When one of the broker's processes ended before it was all over, where they are known: since the first
    /// measured publication was due. What it used is then what it had used shortly before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_ended_seconds: Option<f64>,
    /// What connections cost that do nothing: scenario `idle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// Connections that came and left: scenario `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connects: Option<Connects>,
    /// Subscribers that read nothing: scenario `stuck`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<Stuck>,
    /// Publications as fast as they are acknowledged: scenario `ingest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<Ingest>,
    /// Subscribers that were cut off and came back: scenario `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// A quiet connection beside publishers without pause: scenario `neighbour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<Neighbour>,
    /// Connections that may do nothing: scenario `strangers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Strangers>,
    /// The rates that were tried: `--find-max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_max: Option<FindMax>,
    /// What went wrong, in words.
    pub troubles: Vec<Trouble>,
    /// Why the figures may not be worth much.
    pub warnings: Vec<String>,
}

/// What the publishers did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// How many measured publications were sent.
    pub count: u64,
    /// How many a second were sent.
    pub per_second: f64,
    /// How many a second were due.
    pub offered_per_second: f64,
    /// How many, of warm-up too, were refused, not sent, or sent and not confirmed.
    pub errors: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// In words.
    pub what: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// Of a run of which nothing is known yet.
    pub(crate) fn new(scenario: &str, config: Config) -> Self {
        Self {
            scenario: scenario.to_owned(),
            config,
            published: Published::default(),
            delivered: 0,
            delivered_per_second: 0.0,
            lost: 0,
            holes: None,
            duplicates: 0,
            out_of_order: 0,
            gaps: 0,
            over_told: 0,
            strays: 0,
            disconnected: 0,
            latency_seconds: None,
            sent_late_seconds: None,
            loadgen: OwnUsage::of(Duration::ZERO, 0.0, 0),
            server: None,
            server_ended_seconds: None,
            idle: None,
            connects: None,
            stuck: None,
            ingest: None,
            resume: None,
            neighbour: None,
            strangers: None,
            find_max: None,
            troubles: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// That the server has ended, and when.
    pub(crate) fn server_ended(&self) -> Option<String> {
        self.server_ended_seconds.map(|seconds| format!("the server ended at {seconds:.1} s"))
    }

    /// Why there was an end to it before all was measured, whatever was to be expected.
    pub fn breakdown(&self) -> Option<String> {
        let subscribers = self.config.subscribers - self.stuck.as_ref().map_or(0, |stuck| stuck.subscribers);
        let by_schedule = self.config.rate > 0.0;
        let all_gone = by_schedule && subscribers > 0 && self.disconnected >= u64::from(subscribers);
        self.server_ended().or_else(|| all_gone.then(|| "all subscribers were disconnected".to_owned()))
    }

    /// The report as one JSON object with a line end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("all keys are text");
        text.push('\n');
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report in which nothing is zero that should show.
    pub(crate) fn report() -> Report {
        let quantiles =
            Quantiles { p50: 0.001, p90: 0.005, p99: 0.012, p99_9: 0.02, p99_99: 0.03, max: 0.0312 };
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
                rate: 1000.0,
                size_bytes: 128,
                duration_seconds: 5.0,
                warmup_seconds: 0.5,
                threads: 2,
                confirmed: "one publication in 64 is confirmed".into(),
                pinned: Some("servers on processor 0, load generator on processor 1".into()),
            },
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
            latency_seconds: Some(quantiles.clone()),
            sent_late_seconds: Some(quantiles),
            loadgen: OwnUsage {
                cpu_seconds: 3.21,
                cpu_seconds_per_delivery: Some(642e-6),
                busiest_thread: 0.64,
            },
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
            idle: None,
            connects: None,
            stuck: None,
            ingest: None,
            resume: None,
            neighbour: None,
            strangers: None,
            find_max: None,
            troubles: vec![Trouble { what: "subscriber closed by the broker with 4508".into(), count: 7 }],
            warnings: vec!["the load generator was busy".into()],
        }
    }

    #[test]
    fn the_text_is_a_table_with_units() {
        let expected = "\
fanout: 1,000 subscribers by client, 1 topic, 2 publishers; 1,000 publications/s of 128 bytes for 5.00 s; 2 reader threads
fanfare at ws://127.0.0.1:8000/ws: the one given; servers on processor 0, load generator on processor 1

published                    5  1,000/s of 1,000/s
publish errors               1  one publication in 64 is confirmed
delivered                4,997  1,000,000/s
lost                         3  the broker announced 2 as missed, 1 more than were
duplicates                   4
out of order                 5
strays                       6
disconnected                 7

latency p50            1.00 ms
latency p90            5.00 ms
latency p99            12.0 ms  sent late p99 12.0 ms
latency p99.9          20.0 ms
latency p99.99         30.0 ms
latency max            31.2 ms  sent late max 31.2 ms

own CPU                 3.21 s  642 µs a delivery; busiest thread 64%
server CPU              4.50 s  900 ns a delivery: 80 ns user, 820 ns system
server memory         20.0 MiB  10.0 MiB before; its own 15.0 MiB, 5.0 MiB before; of 3 processes
the server ended at 3.0 s
trouble: subscriber closed by the broker with 4508 (7 times)
warning: the load generator was busy
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn the_json_is_in_base_units() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("JSON");
        assert_eq!(json["latency_seconds"]["p99_9"], 0.02);
        assert_eq!(json["config"]["size_bytes"], 128);
        assert_eq!(json["published"]["offered_per_second"], 1000.0);
        assert_eq!(json["server"]["cpu_seconds_per_delivery"], 0.9e-6);
        assert_eq!(json["lost"], 3);
    }

    #[test]
    fn the_json_can_be_read_back() {
        let read: Report = serde_json::from_str(&report().to_json()).expect("JSON");
        assert_eq!(read, report());
    }

    #[test]
    fn a_run_without_deliveries_still_has_a_report() {
        let report = Report { latency_seconds: None, sent_late_seconds: None, server: None, ..report() };
        assert!(!report.to_string().contains("latency"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert!(json["latency_seconds"].is_null() && json["server"].is_null());
    }

    #[test]
    fn a_server_that_ended_or_subscribers_that_all_did_are_a_breakdown() {
        let ended = report();
        assert_eq!(ended.breakdown().as_deref(), Some("the server ended at 3.0 s"));
        let all = "all subscribers were disconnected";
        let gone = Report { server_ended_seconds: None, disconnected: 1000, ..ended };
        assert_eq!(gone.breakdown().as_deref(), Some(all));
        assert_eq!(Report { disconnected: 999, ..gone }.breakdown(), None);
    }
}
