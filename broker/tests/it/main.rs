//! The broker from outside, over real sockets.

mod api;
mod cli;
mod clock;
mod contracts;
mod docs;
mod harness;
mod hostile;
mod http;
mod logs;
mod memory;
mod metrics;
mod operations;
mod signals;
mod supervision;
