//! The broker from outside, over real sockets.

mod docs;
mod harness;
mod hostile;
