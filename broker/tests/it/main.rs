//! The broker from outside, over real sockets.

mod harness;
mod hostile;
