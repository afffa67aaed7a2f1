//! The atomics of what is lock-free, and the locks among them: named once, so that a model checker can put its own in
//! their place. It does, in the crate `fanfare-loom`.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::sync::Notify;
