//! What the subscribers of one thread have seen, and what that is held against.

pub(crate) mod expectation;
mod histogram;
mod returned;
pub(crate) mod sequence;
mod troubles;
mod woken;

use hdrhistogram::Histogram;

pub(crate) use self::histogram::histogram;
pub(crate) use self::returned::Returned;
pub(crate) use self::troubles::Troubles;
pub(crate) use self::woken::Woken;

/// Counts and latencies; those of several threads add up. Warm-up stays out of all but the gaps, duplicates and
/// strays.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The latency of deliveries, from the moment each publication was due, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Each publication once for each subscriber.
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    /// Delivered after something newer of the same publisher and topic.
    pub(crate) out_of_order: u64,
    /// Publications not delivered although something newer of the same publisher and topic was.
    pub(crate) holes: u64,
    /// Publications that the broker said were missed.
    pub(crate) gaps: u64,
    /// How many more publications the broker said that subscribers had missed than each of them had, in the end.
    pub(crate) over_told: u64,
    /// Messages that nobody asked for, or that came back changed.
    pub(crate) strays: u64,
    /// Connections that ended before their time.
    pub(crate) disconnected: u64,
    /// What stuck subscribers found; all other figures are those of the others.
    pub(crate) woken: Woken,
    /// How those came back that were cut off.
    pub(crate) returned: Returned,
    pub(crate) troubles: Troubles,
    /// When the last counted delivery was read.
    pub(crate) last_delivery_ns: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latency: histogram(),
            delivered: 0,
            duplicates: 0,
            out_of_order: 0,
            holes: 0,
            gaps: 0,
            over_told: 0,
            strays: 0,
            disconnected: 0,
            woken: Woken::default(),
            returned: Returned::new(),
            troubles: Troubles::default(),
            last_delivery_ns: 0,
        }
    }

    /// Adds what another thread has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.holes += other.holes;
        self.gaps += other.gaps;
        self.over_told += other.over_told;
        self.strays += other.strays;
        self.disconnected += other.disconnected;
        self.woken.add(&other.woken);
        self.returned.add(&other.returned);
        self.troubles.add(&other.troubles);
        self.last_delivery_ns = self.last_delivery_ns.max(other.last_delivery_ns);
    }

    /// Notes a message that has no place here, and why.
    pub(crate) fn stray(&mut self, why: &str) {
        self.strays += 1;
        self.troubles.count(&format!("subscriber got {why}"));
    }

    /// Whether anything has come that should not have, or not so: then more of that may follow.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.duplicates + self.out_of_order + self.holes + self.gaps + self.strays > 0
    }
}
