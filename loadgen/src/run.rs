//! Runs: the server that is measured, and threads that are driven through their phases. It must know no scenario.
//!
//! What its threads have seen it hands over as it is: it makes no report of that.

pub mod broker;
pub(crate) mod closed_loop;
pub(crate) mod open_loop;
mod program;
pub(crate) mod progress;
pub(crate) mod server;
