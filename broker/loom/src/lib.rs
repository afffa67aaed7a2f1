//! What the broker does without locks, in every order that its threads can take.
//!
//! The files are the broker's own. They take their atomics and locks from `crate::sync`, which here are those of
//! [loom], a model checker: it runs a model again and again until each order of steps, and each value that a load may
//! see, was there once.
#![expect(dead_code, unreachable_pub, reason = "a model needs a part of each file")]

pub mod arrivals;
#[path = "../../src/clock.rs"]
pub mod clock;
pub mod deadlines;
mod inbox;
mod model;
pub mod publications;
mod topic;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// Tokio's, as far as it is used: it keeps one permit.
    #[derive(Debug)]
    pub(crate) struct Notify(loom::sync::Notify);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Notify::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify();
        }

        pub(crate) async fn notified(&self) {
            self.0.wait();
        }
    }
}
