//! The broker from outside, over real sockets.

mod api;
mod contracts;
mod control;
mod docs;
mod hostile;
mod http;
mod metrics;
mod reload;
