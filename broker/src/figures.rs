//! How much a namespace's topics keep: counted where it changes, read when somebody asks.

use std::sync::atomic::{AtomicI64, Ordering};

/// Counters of each kind, so that threads which publish to different topics seldom write to the same one.
const STRIPES: usize = 8;

/// How many topics a namespace has, and what they keep.
#[derive(Debug, Default)]
pub struct Figures {
    topics: AtomicI64,
    stripes: [Stripe; STRIPES],
}

/// A part of the counts, which may be below nothing: only the sum of all says something.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    publications: AtomicI64,
    bytes: AtomicI64,
}

impl Figures {
    /// Counts so many topics more, or fewer.
    pub(crate) fn topics_changed(&self, by: i64) {
        self.topics.fetch_add(by, Ordering::Relaxed);
    }

    /// Counts so many publications and bytes that a topic keeps more, or fewer; always the same `who` for one
    /// topic.
    pub(crate) fn kept_changed(&self, who: usize, publications: i64, bytes: i64) {
        let stripe = &self.stripes[who % STRIPES];
        // In a topic that is full one goes for each that comes.
        if publications != 0 {
            stripe.publications.fetch_add(publications, Ordering::Relaxed);
        }
        if bytes != 0 {
            stripe.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Topics now.
    pub fn topics(&self) -> i64 {
        self.topics.load(Ordering::Relaxed)
    }

    /// Publications kept.
    pub fn publications(&self) -> i64 {
        self.stripes.iter().map(|stripe| stripe.publications.load(Ordering::Relaxed)).sum()
    }

    /// Bytes of the publications kept, before encoding.
    pub fn bytes(&self) -> i64 {
        self.stripes.iter().map(|stripe| stripe.bytes.load(Ordering::Relaxed)).sum()
    }
}
