//! The broker from outside, over real sockets.

mod access;
mod api;
mod contracts;
mod control;
mod docs;
mod hostile;
mod http;
mod limits;
mod metrics;
mod reload;
mod tls;
