//! The broker from outside, over real sockets.

mod api;
mod cli;
mod clock;
mod contracts;
mod docs;
mod hostile;
mod http;
mod logs;
mod memory;
mod metrics;
mod operations;
mod process;
mod shim;
mod signals;
mod supervision;
