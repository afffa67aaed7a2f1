//! What is busiest, as JSON.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::control::{queried, unanswered};
use crate::control::{self, BusyTopic, SlowReader};
use crate::http::api::json;
use crate::http::problem::Problem;
use crate::hub::Hub;
use crate::workers::heat::{HALF_LIFE, Measure};

/// What of which there may be most is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Publications,
    Deliveries,
    Bytes,
    Lag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopQuery {
    by: By,
    limit: Option<usize>,
}

/// A topic, as the API tells it.
#[derive(Debug, Serialize)]
struct TopicBody<'a> {
    topic: &'a str,
    per_second: f64,
    at_least: f64,
}

#[derive(Debug, Serialize)]
struct TopicsBody<'a> {
    by: By,
    half_life_s: u64,
    topics: Vec<TopicBody<'a>>,
}

/// A reader, as the API tells it.
#[derive(Debug, Serialize)]
struct ReaderBody<'a> {
    id: String,
    user: Option<&'a str>,
    address: Option<&'a str>,
    topic: Option<&'a str>,
    lag: u64,
    blocked_ms: Option<u64>,
    queued_bytes: usize,
}

#[derive(Debug, Serialize)]
struct ReadersBody<'a> {
    by: By,
    readers: Vec<ReaderBody<'a>>,
}

/// One decimal is as exact as it is.
fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn topic_body(busy: &BusyTopic) -> TopicBody<'_> {
    let BusyTopic { topic, per_second, at_least } = busy;
    TopicBody { topic: topic.as_str(), per_second: rounded(*per_second), at_least: rounded(*at_least) }
}

fn reader_body(SlowReader { summary, behind }: &SlowReader) -> ReaderBody<'_> {
    ReaderBody {
        id: summary.id.to_string(),
        user: summary.user.as_deref(),
        address: summary.address.as_deref(),
        topic: behind.as_ref().map(|(topic, _)| topic.as_str()),
        lag: behind.as_ref().map_or(0, |(_, lag)| *lag),
        blocked_ms: summary.blocked_for.map(|length| length.as_millis() as u64),
        queued_bytes: summary.queued_bytes,
    }
}

/// `GET /v1/top`: the busiest topics, or the slowest readers.
pub(super) async fn top(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<TopQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let TopQuery { by, limit } = queried(query)?;
    let measure = match by {
        By::Publications => Measure::Publications,
        By::Deliveries => Measure::Deliveries,
        By::Bytes => Measure::Bytes,
        By::Lag => {
            let readers = control::slowest(&hub, limit).await.map_err(unanswered)?;
            return Ok(json(&ReadersBody { by, readers: readers.iter().map(reader_body).collect() }));
        }
    };
    let topics = control::busiest(&hub, measure, limit);
    let topics = topics.iter().map(topic_body).collect();
    Ok(json(&TopicsBody { by, half_life_s: HALF_LIFE.as_secs(), topics }))
}
