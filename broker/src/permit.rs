//! Permits: how many sockets there may be, and where they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::address::AddressKey;
use crate::tally::Counted;

/// A socket counts among all, and on its worker, while this is there.
#[derive(Debug)]
pub(crate) struct Permit {
    all: Arc<AtomicUsize>,
    load: Arc<AtomicUsize>,
    /// It counts among those of its address, where these are limited.
    /// Boxed, for most have none, and an idle connection is to be small.
    by_address: Option<Box<Counted<AddressKey>>>,
}

impl Permit {
    /// Counts a socket on the worker with that load, if fewer than `max` are there in all.
    pub(crate) fn take(all: &Arc<AtomicUsize>, max: usize, load: &Arc<AtomicUsize>) -> Option<Self> {
        if all.fetch_add(1, Ordering::Relaxed) >= max {
            all.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        load.fetch_add(1, Ordering::Relaxed);
        Some(Self { all: Arc::clone(all), load: Arc::clone(load), by_address: None })
    }
}

impl Permit {
    /// Counts the socket among those of its address.
    pub(crate) fn count_among(&mut self, by_address: Option<Counted<AddressKey>>) {
        self.by_address = by_address.map(Box::new);
    }

    /// Counts the socket on the worker with that load from now on.
    pub(crate) fn move_to(&mut self, load: &Arc<AtomicUsize>) {
        load.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.load, Arc::clone(load)).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}
