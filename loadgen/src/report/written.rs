//! A report as its JSON has it: flat, with a section where there is one, and zeros for deliveries where there are none.

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::config::Config;
use super::deliveries::Deliveries;
use super::sections::{Beside, Connects, FindMax, Idle, Ingest, Neighbour, Pings, Resume, Strangers, Stuck};
use super::usage::{OwnUsage, ServerUsage};
use super::{Findings, Report, Trouble};

/// The keys of a report, in their order.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    scenario: String,
    config: Asked,
    #[serde(flatten)]
    deliveries: Deliveries,
    loadgen: OwnUsage,
    server: Option<ServerUsage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_ended_seconds: Option<f64>,
    #[serde(flatten)]
    sections: Sections,
    troubles: Vec<Trouble>,
    warnings: Vec<String>,
}

/// What was asked for: the rate among the rest, 0 where nothing was published by a schedule.
#[derive(Deserialize)]
struct Asked {
    #[serde(flatten)]
    config: Config,
    rate: f64,
}

/// What only some scenarios have; no report has two of these.
#[derive(Default, Serialize, Deserialize)]
struct Sections {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle: Option<Idle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connects: Option<Connects>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stuck: Option<Stuck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ingest: Option<Ingest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resume: Option<Resume>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neighbour: Option<Neighbour>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pings: Option<Pings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strangers: Option<Strangers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beside: Option<Beside>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    find_max: Option<FindMax>,
}

/// By hand, because the rate stands in the middle.
impl Serialize for Asked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Config { target, url, server, subscribers, by_client, topics, topics_each, .. } = &self.config;
        let Config { publishers, size_bytes, duration_seconds, warmup_seconds, .. } = &self.config;
        let Config { member_order, threads, confirmed, pinned, .. } = &self.config;
        let mut object = serializer.serialize_struct("Config", 16)?;
        object.serialize_field("target", target)?;
        object.serialize_field("url", url)?;
        object.serialize_field("server", server)?;
        object.serialize_field("subscribers", subscribers)?;
        object.serialize_field("by_client", by_client)?;
        object.serialize_field("topics", topics)?;
        object.serialize_field("topics_each", topics_each)?;
        object.serialize_field("publishers", publishers)?;
        object.serialize_field("rate", &self.rate)?;
        object.serialize_field("size_bytes", size_bytes)?;
        object.serialize_field("duration_seconds", duration_seconds)?;
        object.serialize_field("warmup_seconds", warmup_seconds)?;
        match member_order {
            Some(order) => object.serialize_field("member_order", order)?,
            None => object.skip_field("member_order")?,
        }
        object.serialize_field("threads", threads)?;
        object.serialize_field("confirmed", confirmed)?;
        match pinned {
            Some(pinned) => object.serialize_field("pinned", pinned)?,
            None => object.skip_field("pinned")?,
        }
        object.end()
    }
}

impl From<Report> for Written {
    fn from(report: Report) -> Self {
        let Report { scenario, config, findings, loadgen, server, server_ended_seconds, troubles, warnings } =
            report;
        let none = Sections::default();
        let (deliveries, sections) = match findings {
            Findings::Steady(deliveries) => (deliveries, none),
            Findings::FindMax(deliveries, it) => (deliveries, Sections { find_max: Some(it), ..none }),
            Findings::Idle(deliveries, it) => (deliveries, Sections { idle: Some(it), ..none }),
            Findings::Resume(deliveries, it) => (deliveries, Sections { resume: Some(it), ..none }),
            Findings::Stuck(deliveries, it) => (deliveries, Sections { stuck: Some(it), ..none }),
            Findings::Beside(deliveries, it) => (deliveries, Sections { beside: Some(it), ..none }),
            Findings::Connect(it) => (Deliveries::default(), Sections { connects: Some(it), ..none }),
            Findings::Ingest(it) => (Deliveries::default(), Sections { ingest: Some(it), ..none }),
            Findings::Neighbour(it) => (Deliveries::default(), Sections { neighbour: Some(it), ..none }),
            Findings::Ping(it) => (Deliveries::default(), Sections { pings: Some(it), ..none }),
            Findings::Strangers(it) => (Deliveries::default(), Sections { strangers: Some(it), ..none }),
        };
        let config = Asked { config, rate: deliveries.rate };
        Self {
            scenario,
            config,
            deliveries,
            loadgen,
            server,
            server_ended_seconds,
            sections,
            troubles,
            warnings,
        }
    }
}

impl TryFrom<Written> for Report {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { scenario, config, deliveries, loadgen, server, .. } = written;
        let Asked { config, rate } = config;
        let findings = findings(Deliveries { rate, ..deliveries }, written.sections)?;
        let report = Self {
            scenario,
            config,
            findings,
            loadgen,
            server,
            server_ended_seconds: written.server_ended_seconds,
            troubles: written.troubles,
            warnings: written.warnings,
        };
        match (report.deliveries().is_some(), rate > 0.0) {
            (true, false) => Err("a report of deliveries has a rate".to_owned()),
            (false, true) => Err(format!("a report of {} has no rate", report.scenario)),
            (true, true) | (false, false) => Ok(report),
        }
    }
}

/// What the one section says that is there, or that there is none.
fn findings(deliveries: Deliveries, sections: Sections) -> Result<Findings, String> {
    let Sections { idle, connects, stuck, ingest, resume, neighbour, pings, strangers, beside, find_max } =
        sections;
    let with = || deliveries.clone();
    let found = [
        find_max.map(|it| Findings::FindMax(with(), it)),
        idle.map(|it| Findings::Idle(with(), it)),
        resume.map(|it| Findings::Resume(with(), it)),
        stuck.map(|it| Findings::Stuck(with(), it)),
        beside.map(|it| Findings::Beside(with(), it)),
        connects.map(Findings::Connect),
        ingest.map(Findings::Ingest),
        neighbour.map(Findings::Neighbour),
        pings.map(Findings::Ping),
        strangers.map(Findings::Strangers),
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (None, _) => Ok(Findings::Steady(deliveries)),
        (Some(findings), None) => Ok(findings),
        (Some(_), Some(_)) => Err("a report is of one scenario alone".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{connects, deliveries, of_each_kind, report};

    #[test]
    fn a_report_of_each_kind_is_read_back_as_it_was() {
        for report in of_each_kind() {
            let read: Report = serde_json::from_str(&report.to_json()).expect("JSON");
            assert_eq!(read, report);
        }
    }

    #[test]
    fn what_cannot_have_been_found_is_not_read() {
        let refused = |change: fn(&mut serde_json::Value)| {
            let mut json = serde_json::to_value(report()).expect("JSON");
            change(&mut json);
            serde_json::from_value::<Report>(json).expect_err("no report").to_string()
        };
        let section = || serde_json::to_value(connects()).expect("JSON");
        assert_eq!(refused(|json| json["config"]["rate"] = 0.0.into()), "a report of deliveries has a rate");
        let mut both = serde_json::to_value(report()).expect("JSON");
        both["connects"] = section();
        let error = serde_json::from_value::<Report>(both.clone()).expect_err("no report").to_string();
        assert_eq!(error, "a report of fanout has no rate");
        both["find_max"] = serde_json::json!({"p99_limit_seconds": 0.1, "rate": null, "steps": []});
        let error = serde_json::from_value::<Report>(both).expect_err("no report").to_string();
        assert_eq!(error, "a report is of one scenario alone");
    }

    #[test]
    fn deliveries_are_zeros_where_there_is_no_schedule() {
        let report = Report { findings: Findings::Connect(connects()), ..report() };
        let json = serde_json::to_value(report).expect("JSON");
        assert_eq!((&json["config"]["rate"], &json["delivered"]), (&0.0.into(), &0.into()));
        assert!(deliveries().rate > 0.0 && json["latency_seconds"].is_null());
    }
}
