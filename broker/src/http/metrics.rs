//! What the public listener counts: requests, and who is refused before it is a WebSocket.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use crate::metrics::Registry;
use crate::route::Route;

/// What the public listener counts.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    rejected: IntCounterVec,
    admin_refused: IntCounterVec,
    requests: IntCounterVec,
    duration: HistogramVec,
    routes: [OfRoute; Route::COUNT],
}

/// What a route counts most often, looked up once.
#[derive(Debug, Default)]
struct OfRoute {
    good_gets: OnceLock<IntCounter>,
    good_posts: OnceLock<IntCounter>,
    upgrades: OnceLock<IntCounter>,
    duration: OnceLock<Histogram>,
}

impl HttpMetrics {
    pub(crate) fn new(registry: &Registry) -> Arc<Self> {
        Arc::new(Self {
            rejected: registry.counters(
                "fanfare_connection_rejected_total",
                "Connections refused before they were WebSockets.",
                &["reason"],
            ),
            admin_refused: registry.counters(
                "fanfare_admin_refused_total",
                "Requests to the admin listener refused.",
                &["reason"],
            ),
            requests: registry.counters(
                "fanfare_http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "code"],
            ),
            duration: registry.histograms(
                "fanfare_http_request_duration_seconds",
                "From the head of an HTTP request to the head of its answer.",
                &["route"],
            ),
            routes: Default::default(),
        })
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    pub(super) fn admin_refused(&self, reason: &'static str) {
        self.admin_refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn answered(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let kept = &self.routes[route as usize];
        let label = if *method == Method::GET || *method == Method::POST { method.as_str() } else { "other" };
        let requests = || self.requests.with_label_values(&[route.template(), label, status.as_str()]);
        match (method, status) {
            (&Method::GET, StatusCode::OK) => kept.good_gets.get_or_init(requests).inc(),
            (&Method::POST, StatusCode::OK) => kept.good_posts.get_or_init(requests).inc(),
            (&Method::GET, StatusCode::SWITCHING_PROTOCOLS) => kept.upgrades.get_or_init(requests).inc(),
            _ => requests().inc(),
        }
        let duration = || self.duration.with_label_values(&[route.template()]);
        kept.duration.get_or_init(duration).observe(took.as_secs_f64());
    }
}
