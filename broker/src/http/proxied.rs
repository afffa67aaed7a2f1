//! The client that a proxy brings, read at the begin of a connection: the PROXY protocol.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::RecvFlags;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::asker::Peer;
use crate::address::networks::contain;
use crate::address::proxy_header::{self, HEADER_BYTES_MAX, ProxyHeader};
use crate::config::ServerConfig;

/// Whether connections from there begin with a header that names the client.
pub(crate) fn is_expected(server: &ServerConfig, from: IpAddr) -> bool {
    server.proxy_protocol && contain(&server.trusted_proxies, from)
}

/// Reads the header, which has to be whole by `deadline`, and nothing behind it.
///
/// # Errors
/// What the system says, or that what came is no such header, or did not come in time.
pub(super) async fn read(stream: &TcpStream, from: IpAddr, deadline: Instant) -> io::Result<Peer> {
    let reading = stream.async_io(Interest::READABLE, || take_header(stream));
    let client = tokio::time::timeout_at(deadline, reading).await??;
    Ok(match client {
        Some(client) => Peer { address: client.ip(), is_proxied: true },
        None => Peer { address: from, is_proxied: false },
    })
}

/// Takes the header out of the socket, where it is whole, and leaves everything else.
fn take_header(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let (socket, mut buffer) = (SockRef::from(stream), [0; HEADER_BYTES_MAX]);
    let (peeked, _) = rustix::net::recv(stream, &mut buffer[..], RecvFlags::PEEK)?;
    match proxy_header::read(&buffer[..peeked]) {
        ProxyHeader::Whole { length, client } => {
            io::Read::read_exact(&mut &*socket, &mut buffer[..length])?;
            Ok(client)
        }
        // The peer may have gone, too: more than the time for it, it does not have.
        ProxyHeader::Partial if peeked > 0 => Err(io::ErrorKind::WouldBlock.into()),
        ProxyHeader::Partial => Err(io::ErrorKind::UnexpectedEof.into()),
        ProxyHeader::Invalid => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol"))
        }
    }
}
