//! What came of publications by a schedule.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;

/// What came of publications that were due at fixed times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// Publications a second in all, as they were asked for. It stands with what else was asked for.
    #[serde(skip)]
    pub rate: f64,
    /// What the publishers did.
    pub published: Published,
    /// How many measured publications reached their subscribers, each counted once for each of them.
    pub delivered: u64,
    /// How many a second reached their subscribers.
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
    /// The time from the moment a publication was due until a subscriber had read it; none if nothing came.
    pub latency_seconds: Option<Quantiles>,
    /// From the moment a publication was due until it was sent: the load generator's own share of the
    /// latency, and the broker's where it takes publications slowly.
    pub sent_late_seconds: Option<Quantiles>,
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
