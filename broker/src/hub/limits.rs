//! What is counted of peers over all workers: how many connections they have, and how often they have asked.

use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{AddressKey, is_public};
use crate::clock::Moment;
use crate::config::LimitsConfig;
use crate::metrics::Registry;
use crate::rate::metrics::RateMetrics;
use crate::rate::shared::{Buckets, Key, SharedBuckets};
use crate::tally::{Counted, Tally};

/// The part of all connections that one public address may have, where nobody says otherwise.
const SHARE_OF_ADDRESS: usize = 4;

/// What is counted of peers.
#[derive(Debug)]
pub(crate) struct PeerLimits {
    by_address: Arc<Tally<AddressKey>>,
    by_user: Arc<Tally<Arc<str>>>,
    buckets: SharedBuckets,
    pub(crate) metrics: RateMetrics,
}

/// There are as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl PeerLimits {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            by_address: Arc::default(),
            by_user: Arc::default(),
            buckets: SharedBuckets::default(),
            metrics: RateMetrics::new(registry),
        }
    }

    /// Counts a connection from that address, where those are limited; `all_max` may be there in all.
    ///
    /// # Errors
    /// [`TooMany`] of that address.
    pub(crate) fn enter(
        &self,
        limits: &LimitsConfig,
        all_max: usize,
        address: IpAddr,
    ) -> Result<Option<Counted<AddressKey>>, TooMany> {
        let max = match limits.connections_per_ip {
            0 if is_public(address) => (all_max / SHARE_OF_ADDRESS).max(1),
            0 => return Ok(None),
            max => max,
        };
        self.by_address.enter(AddressKey::of(address), max).map(Some).ok_or(TooMany)
    }

    /// Counts a WebSocket of that user, where those are limited.
    ///
    /// # Errors
    /// [`TooMany`] of that user.
    pub(crate) fn admit(
        &self,
        limits: &LimitsConfig,
        user: Option<&Arc<str>>,
    ) -> Result<Option<Counted<Arc<str>>>, TooMany> {
        match (user, limits.connections_per_user) {
            (None, _) | (_, 0) => Ok(None),
            (Some(user), max) => self.by_user.enter(Arc::clone(user), max).map(Some).ok_or(TooMany),
        }
    }

    /// The buckets of that key.
    pub(crate) fn buckets(&self, key: Key, now: Moment) -> Arc<Buckets> {
        let (buckets, given_up) = self.buckets.of(key, now);
        self.metrics.evicted(given_up);
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_public_address_may_not_take_the_house_and_a_proxys_may() {
        let limits = PeerLimits::new(&Registry::new());
        let mut config = LimitsConfig::default();
        let let_in = |config: &LimitsConfig, address: &str| {
            let address = address.parse().expect("an address");
            let entered: Vec<_> = (0..50).map_while(|_| limits.enter(config, 40, address).ok()).collect();
            entered.len()
        };
        for (address, expected) in [("8.8.8.8", 10), ("2001:db8::1", 10), ("127.0.0.1", 50), ("10.0.0.1", 50)]
        {
            assert_eq!(let_in(&config, address), expected, "{address}");
        }
        config.connections_per_ip = 3;
        for address in ["8.8.8.8", "127.0.0.1", "10.0.0.1"] {
            assert_eq!(let_in(&config, address), 3, "{address}");
        }
    }

    #[test]
    fn a_user_may_have_so_many_and_nobody_in_particular_any_number() {
        let limits = PeerLimits::new(&Registry::new());
        let mut config = LimitsConfig::default();
        let alice = Arc::<str>::from("alice");
        let let_in = |config: &LimitsConfig, user: Option<&Arc<str>>| {
            let admitted: Vec<_> = (0..50).map_while(|_| limits.admit(config, user).ok()).collect();
            admitted.len()
        };
        assert_eq!(let_in(&config, Some(&alice)), 50);
        config.connections_per_user = 2;
        assert_eq!((let_in(&config, Some(&alice)), let_in(&config, None)), (2, 50));
    }
}
