//! The broker from outside, over real sockets.

mod api;
mod cli;
mod contracts;
mod docs;
mod harness;
mod hostile;
mod http;
mod memory;
mod operations;
