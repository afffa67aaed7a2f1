//! An accepted socket on its way to its worker.

use std::net::{IpAddr, TcpStream};

use crate::permit::Permit;

/// An accepted socket, which counts on its worker already.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) permit: Permit,
    /// Where its other end is.
    pub(crate) from: IpAddr,
}
