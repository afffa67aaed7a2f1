//! The machine: clock, threads, processors, processes, limits. It must know no broker, no load and no report.

pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod limits;
pub(crate) mod pin;
pub(crate) mod process;
pub(crate) mod stdio;
pub(crate) mod thread;
pub(crate) mod watched;
