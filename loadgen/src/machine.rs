//! The machine: clock, threads, processors, processes, limits. It must know no broker, no load and no report.

pub(crate) mod clock;
pub mod cores;
pub mod greeting;
pub mod limits;
pub mod parent;
pub mod pin;
pub(crate) mod process;
pub mod stdio;
pub(crate) mod thread;
pub(crate) mod watched;
