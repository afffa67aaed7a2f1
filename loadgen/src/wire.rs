//! The wire: sockets, WebSockets and payloads as bytes. It must know no dialect, no plan and no report.

pub(crate) mod address;
pub(crate) mod handshake;
pub mod outgoing;
pub(crate) mod payload;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod websocket;
