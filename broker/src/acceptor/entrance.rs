//! The one listener, and what is said to those who are not let in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::task::TaskTracker;

use super::accepting::Accepting;
use crate::http::full::{self, Full};
use crate::http::metrics::HttpMetrics;
use crate::hub::Throttle;

/// Bytes that the kernel may hold unsent of a connection before it takes no more: what a reader's
/// network holds is its own, the rest stays in the ring, where it is shared.
#[cfg(target_os = "linux")]
const NOT_SENT_BYTES: u32 = 64 * 1024;
/// Sockets that the kernel may hold for us.
const BACKLOG: u32 = 4096;

/// A listener on that address. What it accepts inherits its options: nothing waits for more to be sent with
/// it, and the kernel holds `send_buffer` bytes at most for a reader that does not read.
///
/// # Errors
/// What the system says of the socket, with the address where it cannot be bound or listened on.
pub(crate) fn bind(address: SocketAddr, send_buffer: u64) -> io::Result<TcpListener> {
    let name = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart finds its port free although connections of the last run linger.
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(send_buffer.try_into().unwrap_or(u32::MAX))?;
    #[cfg(target_os = "linux")]
    SockRef::from(&socket).set_tcp_notsent_lowat(NOT_SENT_BYTES)?;
    socket.bind(address).map_err(name)?;
    socket.listen(BACKLOG).map_err(name)
}

/// Why a socket is not let in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    /// Its address has as many as it may, or comes too often.
    Address,
    /// There are as many as there may be in all.
    Limit,
    /// Its worker has too many yet to take in.
    Overload,
}

impl Refused {
    /// The reason as it is counted, and what the peer is told.
    fn told(self) -> (&'static str, &'static [u8]) {
        match self {
            Self::Address => ("address", full::TOO_MANY),
            Self::Limit => ("limit", full::FULL),
            Self::Overload => ("overload", full::FULL),
        }
    }
}

/// What accepting takes, for all workers together.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Belongs to the runtime of whichever worker accepts.
    listener: std::net::TcpListener,
    pub(super) accepting: Arc<Accepting>,
    full: Full,
    short: Throttle,
    metrics: Arc<HttpMetrics>,
    /// Whether TLS is spoken, in which nobody is told anything who has not begun it.
    is_secured: bool,
}

impl Entrance {
    /// The entrance through that listener.
    ///
    /// # Errors
    /// What the system says where the listener cannot be taken out of its runtime.
    pub(crate) fn new(
        listener: TcpListener,
        accepting: Arc<Accepting>,
        metrics: Arc<HttpMetrics>,
        is_secured: bool,
    ) -> io::Result<Arc<Self>> {
        let (listener, full, short) = (listener.into_std()?, Full::default(), Throttle::default());
        Ok(Arc::new(Self { listener, accepting, full, short, metrics, is_secured }))
    }

    /// A socket that has knocked, if there is one. It belongs to no runtime yet.
    pub(super) fn accept(&self) -> io::Result<(std::net::TcpStream, IpAddr)> {
        #[cfg(target_os = "linux")]
        {
            use rustix::net::{SocketFlags, acceptfrom_with};
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (stream, from) = acceptfrom_with(&self.listener, flags)?;
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let from = from.ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((stream.into(), from.ip().to_canonical()))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let (stream, from) = self.listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok((stream, from.ip().to_canonical()))
        }
    }

    /// Turns away all who have knocked.
    pub(super) fn close(&self) {
        for _ in 0..BACKLOG {
            let Ok((stream, _)) = self.accept() else { break };
            self.turn_away(&stream);
        }
    }

    /// Turns away one who has knocked.
    pub(super) fn turn_away(&self, stream: &std::net::TcpStream) {
        full::turn_away(stream, self.is_secured);
    }

    /// Tells a peer that there is no room for it, by a task that is among `tasks`.
    pub(super) fn refuse(&self, why: Refused, stream: std::net::TcpStream, tasks: &TaskTracker) {
        let (reason, answer) = why.told();
        self.metrics.rejected(reason);
        if self.is_secured {
            return;
        }
        match TcpStream::from_std(stream) {
            Ok(stream) => self.full.turn_away(stream, answer, tasks),
            Err(error) => tracing::debug!(%error, "a socket failed before it was turned away"),
        }
    }

    /// Says that accepting fails for want of something that may come back.
    pub(super) fn say_short(&self, error: &io::Error) {
        if let Some(unlogged) = self.short.may_log() {
            tracing::warn!(%error, unlogged, "cannot accept: out of file descriptors or memory; raise the limit of open files, or lower limits.connections");
        }
    }
}

impl AsFd for Entrance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for Entrance {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_socket_has_the_options_of_its_listener() {
        let listener = bind("127.0.0.1:0".parse().expect("an address"), 32 * 1024).expect("binds");
        let address = listener.local_addr().expect("bound");
        let _client = std::net::TcpStream::connect(address).expect("connects");
        let (accepted, _) = listener.accept().await.expect("accepts");
        assert!(accepted.nodelay().expect("an option"));
        let socket = SockRef::from(&accepted);
        // Linux doubles what is asked for, to have room for its own records.
        assert!((32 * 1024..=64 * 1024).contains(&socket.send_buffer_size().expect("an option")));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_notsent_lowat().expect("an option"), NOT_SENT_BYTES);
    }
}
