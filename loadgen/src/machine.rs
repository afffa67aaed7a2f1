//! The machine: its clock, its threads and processors, its processes, and what it allows.
//!
//! It knows of no broker, no load and no report: no arrow leads up from here.

pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod limits;
pub(crate) mod pin;
pub(crate) mod process;
pub(crate) mod stdio;
pub(crate) mod thread;
pub(crate) mod watched;
