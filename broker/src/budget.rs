//! Process-wide budgets of bytes: what is retained in topics, and what is on its way.

pub(crate) mod config;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes are held, and how many may be.
///
/// There is one for what topics retain (`memory.retained`) and one for what is on its way in or out
/// (`memory.in_flight`): half messages, bodies, replies and batches that wait to be written. What is charged stays charged until its [`Charge`] is dropped, so the figure is what is really alive.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// What is charged to a part is charged to the whole.
    whole: Option<Arc<Self>>,
}

/// Above its limit the budget asks for eviction; above this many times the limit nothing more is taken,
/// for what cannot be evicted (it is not delivered yet) must be bounded too.
const HARD_FACTOR: usize = 2;
/// With less than this share of it free the next one that is not small would find no room.
const FREE_SHARE: usize = 8;

/// Bytes that an allocator takes for so many: sizes are rounded up to one of four for each power of two, and small ones
/// to 16. So jemalloc does, and other allocators nearly so.
pub const fn allocated_bytes(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2))
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit), whole: None })
    }

    /// A part of this budget: it says how much of it is used there, and has no limit of its own.
    pub fn part(self: &Arc<Self>) -> Arc<Self> {
        let (used, limit) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        Arc::new(Self { used, limit, whole: Some(Arc::clone(self)) })
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether something should be evicted.
    pub fn is_over(&self) -> bool {
        self.used() > self.limit()
    }

    /// How many bytes may be charged.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets how many bytes may be charged from now on. What is charged stays: where it is more now it is
    /// [over](Self::over).
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes beyond seven eighths of the limit: what is left is for those who come next.
    pub fn crowded(&self) -> usize {
        let limit = self.limit();
        self.used().saturating_sub(limit - limit / FREE_SHARE)
    }

    /// Bytes beyond the limit.
    pub fn over(&self) -> usize {
        self.used().saturating_sub(self.limit())
    }

    /// Whether nothing more may be taken in.
    pub fn is_exhausted(&self) -> bool {
        self.used() > self.limit().saturating_mul(HARD_FACTOR)
    }

    /// Charges so many bytes, which are to be [given back](Self::give_back).
    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.take(bytes);
        }
    }

    /// Gives back so many bytes that were [taken](Self::take).
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// Charges `bytes` until the charge is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        if bytes > 0 {
            self.take(bytes);
        }
        Charge { budget: Arc::clone(self), bytes: AtomicUsize::new(bytes) }
    }
}

/// Bytes charged to a budget; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Charges so many bytes more.
    pub fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.budget.take(bytes);
    }

    /// Charges so many bytes from now on, instead of what it did.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if bytes >= before {
            self.budget.take(bytes - before);
        } else {
            self.budget.give_back(before - bytes);
        }
    }

    /// Bytes that it charges.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(*self.bytes.get_mut());
    }
}
