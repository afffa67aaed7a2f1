//! What the broker does without locks, in every order that its threads can take.
//!
//! The files are the broker's own. They take their atomics and locks from `crate::sync`, which here are those of
//! [loom], a model checker: it runs a model again and again until each order of steps, and each value that a load may
//! see, was there once.
#![expect(dead_code, unreachable_pub, reason = "a model needs a part of each file")]

#[path = "../../src/clock.rs"]
pub mod clock;
pub mod deadlines;
mod model;
pub mod publications;
mod topic;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}
