//! The load itself: who connects, what is published when, and what every delivery is held against.
//!
//! It knows neither scenarios nor the command line, and not whose turn it is: a [`run`](crate::run) drives it.

pub(crate) mod connection;
pub(crate) mod ingest;
pub(crate) mod link;
pub(crate) mod plan;
pub(crate) mod publisher;
pub(crate) mod schedule;
pub(crate) mod subscriber;
pub(crate) mod tally;
