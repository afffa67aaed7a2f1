//! A load generator for pub/sub brokers that engineers can trust.
//!
//! Publications are due at fixed times, whatever the broker does, and every payload says who published
//! it, which one it is and when it was due. Every subscriber holds what it gets against that: latency is
//! counted from the due time, and nothing can be lost, doubled or swapped unseen.
//!
//! A scenario asks for a `Load`. Resolved, that is a `Plan`: a `Target` (what is said to the broker), a
//! `Schedule` (what is published when) and numbers. The threads of the subscribers and the one of the
//! publishers follow it through its `Phase`s; what they have seen becomes a [`Report`](report::Report).
//!
//! Each wing knows those below it alone: `scenario`, `run`, `load`, `target`, `wire`, `report`, `machine`.
//! Above them all are two crates: `compare` with the floor, and the program with its command line.

mod load;
pub mod machine;
pub mod report;
pub mod run;
pub mod scenario;
pub mod target;
pub mod wire;
