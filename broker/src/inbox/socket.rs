//! An accepted socket on its way to its worker.

use std::net::TcpStream;

use crate::permit::Permit;

/// An accepted socket, which counts on its worker already.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) permit: Permit,
}
