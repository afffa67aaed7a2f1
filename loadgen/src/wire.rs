//! The wire: WebSockets as bytes, and the payload that goes over them.
//!
//! It knows of no dialect: what a message says is the [`target`](crate::target)'s affair. Nor does it know who
//! connects, or why.

pub(crate) mod address;
pub(crate) mod handshake;
pub(crate) mod outgoing;
pub(crate) mod payload;
pub(crate) mod socket;
pub(crate) mod websocket;
