//! The atomics of what is lock-free: named once, so that a model checker can put its own in their place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
