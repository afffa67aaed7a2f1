//! A run under way: the server that is measured, and the threads that are driven through their phases.
//!
//! It knows no scenario, and makes no report of what was seen.

pub(crate) mod closed_loop;
pub(crate) mod open_loop;
pub(crate) mod progress;
pub(crate) mod server;
