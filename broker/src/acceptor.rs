//! Accepts sockets and hands each to the least loaded worker.

use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::Public;
use crate::http::full::{FULL, Full};
use crate::hub::{Hub, Throttle};
use crate::worker::handle::Socket;

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

/// Proof that a socket counts among the connections; given back on drop.
#[derive(Debug)]
pub(crate) struct Admitted {
    hub: Arc<Hub>,
    public: Arc<Public>,
    /// Which worker it counts for.
    worker: usize,
}

impl Admitted {
    /// For a socket that the hub and its worker have counted.
    pub(crate) fn new(hub: &Arc<Hub>, public: &Arc<Public>, worker: usize) -> Self {
        Self { hub: Arc::clone(hub), public: Arc::clone(public), worker }
    }

    /// What its requests are answered with.
    pub(crate) fn public(&self) -> &Public {
        &self.public
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
        self.hub.workers[self.worker].released();
        // Dropped by the end of the connection's task, however it ends.
        if std::thread::panicking() {
            self.hub.metrics.task_panicked("connection");
        }
    }
}

/// A listener on that address. What it accepts inherits its options: nothing waits for more to be sent with
/// it, and the kernel holds `send_buffer` bytes at most for a reader that does not read.
///
/// # Errors
/// Those of binding, with the address.
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
/// Those of waiting for it.
pub(crate) fn take_over(listener: TcpListener) -> io::Result<Listener> {
    #[expect(deprecated, reason = "its successor is unsafe, and a listener keeps the promise it wants")]
    AsyncFd::with_interest(listener.into_std()?, Interest::READABLE)
}

/// Accepts, for each worker with its answers, until `stop` is cancelled; those who have knocked by then are turned away.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn run(
    hub: &Arc<Hub>,
    listener: &Listener,
    public: &[Arc<Public>],
    stop: &CancellationToken,
    full: &Full,
) {
    let short = Throttle::default();
    let accept = || listener.async_io(Interest::READABLE, std::net::TcpListener::accept);
    while let Some(accepted) = stop.run_until_cancelled(accept()).await {
        match accepted.and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream)) {
            Ok(stream) => admit(hub, public, full, stream),
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
        turn_away(&stream);
    }
}

fn is_short(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE and ENOBUFS.
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
}

fn admit(hub: &Arc<Hub>, public: &[Arc<Public>], full: &Full, stream: std::net::TcpStream) {
    let before = hub.connections.fetch_add(1, Ordering::Relaxed);
    if before >= hub.connections_max {
        hub.connections.fetch_sub(1, Ordering::Relaxed);
        hub.metrics.rejected("limit");
        return tell(full, stream);
    }
    let worker = hub.workers.least_loaded();
    let admitted = Admitted::new(hub, &public[worker], worker);
    if let Err(socket) = hub.workers[worker].adopt(Socket { stream, admitted }) {
        hub.metrics.rejected("overload");
        tell(full, socket.stream);
    }
}

fn tell(full: &Full, stream: std::net::TcpStream) {
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => full.turn_away(stream),
        Err(error) => tracing::debug!(%error, "a socket failed before it was turned away"),
    }
}

/// Answers 503 without waiting for the request. The socket is to be dropped then.
pub(crate) fn turn_away(stream: &std::net::TcpStream) {
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    let socket = SockRef::from(stream);
    // A fresh socket takes so little at once, or its peer does without the reason. What it has sent already is
    // read, or the kernel would follow the answer up with a reset.
    drop(socket.send(FULL).and_then(|_| socket.shutdown(Shutdown::Write)));
    drop((&*stream).read(&mut [0; 4096]));
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
