//! How often one peer may do something: rates, and the buckets that hold what is left of them.
//!
//! It must not know who asks nor what is done with a refusal: it is told a key, a moment and a rate.

pub(crate) mod bucket;
pub(crate) mod config;
pub(crate) mod kind;
pub(crate) mod limiter;
pub(crate) mod metrics;
pub(crate) mod shared;
