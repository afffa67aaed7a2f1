//! What came of a run, for people and for programs. It must know neither who makes it nor who reads it.

pub mod assertion;
mod config;
mod deliveries;
mod findings;
pub mod metric;
pub mod metrics;
mod quantiles;
mod remarks;
mod row;
#[cfg(test)]
pub(crate) mod samples;
mod sections;
mod text;
pub mod unit;
mod usage;
mod written;

use serde::{Deserialize, Serialize};

pub use self::config::{Config, MemberOrder};
pub use self::deliveries::{Deliveries, Published};
pub use self::findings::Findings;
pub use self::quantiles::Quantiles;
pub use self::sections::{
    Attack, Beside, Connects, FindMax, Idle, Ingest, MemoryOverTime, Neighbour, Pings, Resume, Step,
    Strangers, Stuck,
};
pub use self::usage::{OwnUsage, ServerUsage};
use self::written::Written;

/// What came of a run. All in base units: seconds, bytes, counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Report {
    /// Which scenario it was.
    pub scenario: String,
    /// What was asked for.
    pub config: Config,
    /// What was found, which depends on the kind of scenario.
    pub findings: Findings,
    /// What the load generator itself used while it measured.
    pub loadgen: OwnUsage,
    /// What the broker used meanwhile, where its process is known.
    pub server: Option<ServerUsage>,
    /// When one of the broker's processes ended before it was all over, where they are known: since the first
    /// measured publication was due. What it used is then what it had used shortly before.
    pub server_ended_seconds: Option<f64>,
    /// What went wrong, in words.
    pub troubles: Vec<Trouble>,
    /// Why the figures may not be worth much.
    pub warnings: Vec<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// The trouble, in words.
    pub what: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// The line that says that the server has ended, and when.
    pub(crate) fn server_ended(&self) -> Option<String> {
        self.server_ended_seconds.map(|seconds| format!("the server ended at {seconds:.1} s"))
    }

    /// Why there was an end to it before all was measured, whatever was to be expected.
    pub fn breakdown(&self) -> Option<String> {
        self.server_ended()
            .or_else(|| self.are_all_gone().then(|| "all subscribers were disconnected".to_owned()))
    }

    /// Whether nobody was left of those whom the schedule was for.
    fn are_all_gone(&self) -> bool {
        let stuck = self.stuck().map_or(0, |stuck| stuck.subscribers);
        let subscribers = u64::from(self.config.subscribers - stuck);
        self.deliveries().is_some_and(|it| subscribers > 0 && it.disconnected >= subscribers)
    }

    /// The report as one JSON object with a line end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("all keys are text");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::samples::{deliveries, report};
    use super::*;

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
    fn the_order_of_members_is_told_where_there_is_one() {
        for (order, text, json) in [
            (
                MemberOrder::Random { seed: 7 },
                "members in random order, seed 7",
                json!({"random": {"seed": 7}}),
            ),
            (MemberOrder::RoundRobin, "rooms take turns as members connect", json!("round_robin")),
        ] {
            let config = Config { member_order: Some(order), ..report().config };
            let report = Report { config, ..report() };
            let head = format!("2 publishers; {text}; 1,000 publications/s");
            assert!(report.to_string().contains(&head), "{report}");
            let written: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
            assert_eq!(written["config"]["member_order"], json);
            assert_eq!(serde_json::from_value::<Report>(written).expect("a report"), report);
        }
    }

    #[test]
    fn a_run_without_deliveries_still_has_a_report() {
        let silent = Deliveries { latency_seconds: None, sent_late_seconds: None, ..deliveries() };
        let report = Report { findings: Findings::Steady(silent), server: None, ..report() };
        assert!(!report.to_string().contains("latency"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert!(json["latency_seconds"].is_null() && json["server"].is_null());
    }

    #[test]
    fn a_server_that_ended_or_subscribers_that_all_did_are_a_breakdown() {
        let ended = report();
        assert_eq!(ended.breakdown().as_deref(), Some("the server ended at 3.0 s"));
        let all = "all subscribers were disconnected";
        let disconnected = |disconnected| Findings::Steady(Deliveries { disconnected, ..deliveries() });
        let gone = Report { server_ended_seconds: None, findings: disconnected(1000), ..ended };
        assert_eq!(gone.breakdown().as_deref(), Some(all));
        assert_eq!(Report { findings: disconnected(999), ..gone }.breakdown(), None);
    }
}
