//! Accepts sockets and hands each to a worker.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::full::{self, Full};
use crate::http::metrics::HttpMetrics;
use crate::hub::{Hub, Throttle};
use crate::inbox::Socket;
use crate::permit::Permit;

/// How long accepting rests when the process is out of file descriptors or the system of memory.
const SHORT_REST: Duration = Duration::from_millis(50);
/// Bytes that the kernel may hold unsent of a connection before it takes no more: what a reader's
/// network holds is its own, the rest stays in the ring, where it is shared.
#[cfg(target_os = "linux")]
const NOT_SENT_BYTES: u32 = 64 * 1024;
/// Sockets that the kernel may hold for us.
const BACKLOG: u32 = 4096;

/// A listener whose sockets belong to no runtime yet.
pub(crate) type Listener = AsyncFd<std::net::TcpListener>;

/// A listener on that address. What it accepts inherits its options: nothing waits for more to be sent with
/// it, and the kernel holds `send_buffer` bytes at most for a reader that does not read.
///
/// # Errors
/// What the system says of the socket, with the address where it cannot be bound or listened on.
pub(crate) fn bind(address: std::net::SocketAddr, send_buffer: u64) -> io::Result<TcpListener> {
    let name = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
    let socket = match address {
        std::net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        std::net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
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

/// Takes the listener over. What tokio's own accepts belongs to this runtime first, and would have to be
/// taken out of it for its worker.
///
/// # Errors
/// What the system says where the runtime cannot wait for the listener.
pub(crate) fn take_over(listener: TcpListener) -> io::Result<Listener> {
    #[expect(deprecated, reason = "its successor is unsafe, and a listener keeps the promise it wants")]
    AsyncFd::with_interest(listener.into_std()?, Interest::READABLE)
}

/// Accepts until `stop` is cancelled; those who have knocked by then are turned away.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn run(
    hub: &Hub,
    listener: &Listener,
    stop: &CancellationToken,
    full: &Full,
    metrics: &HttpMetrics,
) {
    let short = Throttle::default();
    let accept = || listener.async_io(Interest::READABLE, std::net::TcpListener::accept);
    while let Some(accepted) = stop.run_until_cancelled(accept()).await {
        match accepted.and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream)) {
            Ok(stream) => admit(hub, full, metrics, stream),
            Err(error) if is_short(&error) => {
                if let Some(unlogged) = short.may_log() {
                    tracing::warn!(%error, unlogged, "cannot accept: out of file descriptors or memory; raise the limit of open files, or lower limits.connections");
                }
                tokio::time::sleep(SHORT_REST).await;
            }
            // The peer has gone already, or the like.
            Err(error) => tracing::debug!(%error, "accepting failed"),
        }
    }
    for _ in 0..BACKLOG {
        let Ok((stream, _)) = listener.get_ref().accept() else { break };
        full::turn_away(&stream);
    }
}

/// Whether it is for want of file descriptors or memory, which may come back.
fn is_short(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn admit(hub: &Hub, full: &Full, metrics: &HttpMetrics, stream: std::net::TcpStream) {
    let worker = &hub.workers[hub.workers.next_for_socket(hub.config.server.testing.spread)];
    let Some(permit) = Permit::take(&hub.connections, hub.connections_max, &worker.load) else {
        metrics.rejected("limit");
        return tell(full, stream);
    };
    if let Err(socket) = worker.inbox.adopt(Socket { stream, permit }) {
        metrics.rejected("overload");
        tell(full, socket.stream);
    }
}

fn tell(full: &Full, stream: std::net::TcpStream) {
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => full.turn_away(stream),
        Err(error) => tracing::debug!(%error, "a socket failed before it was turned away"),
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
