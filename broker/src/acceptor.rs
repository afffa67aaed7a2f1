//! Accepts sockets, on the thread of the worker that serves them.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http::Public;
use crate::http::full::{self, Full};
use crate::http::metrics::HttpMetrics;
use crate::hub::Throttle;
use crate::inbox::Socket;
use crate::permit::Permit;
use crate::worker::Worker;
use crate::workers::Workers;

/// How long accepting rests when the process is out of file descriptors or the system of memory.
const SHORT_REST: Duration = Duration::from_millis(50);
/// Bytes that the kernel may hold unsent of a connection before it takes no more: what a reader's
/// network holds is its own, the rest stays in the ring, where it is shared.
#[cfg(target_os = "linux")]
const NOT_SENT_BYTES: u32 = 64 * 1024;
/// Sockets that the kernel may hold for us on one address, over all its listeners, ...
const BACKLOG: u32 = 4096;
/// ... and for one listener at least.
const BACKLOG_MIN: u32 = 1024;
/// Sockets that a worker accepts before its other tasks have had their turn.
const ACCEPTED_A_CYCLE: usize = 8;
/// A worker with so many sockets more than the one with the fewest, and a share of those, hands over what it accepts: the
/// kernel deals sockets out by chance, and handing over costs waking another thread.
const MORE_AT_MOST: usize = 1;
const MORE_AT_MOST_SHARE: usize = 16;

/// A listener on that address. What it accepts inherits its options: nothing waits for more to be sent with
/// it, and the kernel holds `send_buffer` bytes at most for a reader that does not read.
///
/// # Errors
/// What the system says of the socket, with the address where it cannot be bound or listened on.
pub(crate) fn bind(address: SocketAddr, send_buffer: u64) -> io::Result<TcpListener> {
    listen(address, send_buffer, BACKLOG, false)
}

/// Listeners on one address of which each is to be accepted from by another worker, `most` at most: they are fewer where the
/// system does not deal sockets out among them. None belongs to a runtime.
///
/// # Errors
/// As for [`bind`], of the first alone.
pub(crate) fn bind_many(
    address: SocketAddr,
    send_buffer: u64,
    most: usize,
) -> io::Result<Vec<std::net::TcpListener>> {
    let backlog = BACKLOG_MIN.max(BACKLOG / u32::try_from(most).unwrap_or(u32::MAX));
    // The first has the address for itself: another broker on the same one must be refused, and is.
    let first = listen(address, send_buffer, backlog, false)?.into_std()?;
    let mut listeners = vec![first];
    if let Err(error) = add_more(&mut listeners, send_buffer, backlog, most) {
        tracing::warn!(%error, "not every worker can accept connections itself; others hand them over");
    }
    Ok(listeners)
}

/// Adds listeners on the address of the first, which lets nobody but this user join it from now on.
#[cfg(target_os = "linux")]
fn add_more(
    listeners: &mut Vec<std::net::TcpListener>,
    send_buffer: u64,
    backlog: u32,
    most: usize,
) -> io::Result<()> {
    let Some(first) = listeners.first().filter(|_| most > 1) else { return Ok(()) };
    SockRef::from(first).set_reuse_port(true)?;
    let address = first.local_addr()?;
    while listeners.len() < most {
        listeners.push(listen(address, send_buffer, backlog, true)?.into_std()?);
    }
    Ok(())
}

/// Elsewhere the system lets several listen as well, but gives all sockets to one of them.
#[cfg(not(target_os = "linux"))]
fn add_more(_: &mut Vec<std::net::TcpListener>, _: u64, _: u32, _: usize) -> io::Result<()> {
    Ok(())
}

fn listen(
    address: SocketAddr,
    send_buffer: u64,
    backlog: u32,
    is_one_of_many: bool,
) -> io::Result<TcpListener> {
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
    if is_one_of_many {
        SockRef::from(&socket).set_reuse_port(true)?;
    }
    socket.bind(address).map_err(name)?;
    socket.listen(backlog).map_err(name)
}

/// What all who accept have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    full: Full,
    short: Throttle,
}

/// A worker's share in accepting.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) worker: Rc<Worker>,
    pub(crate) public: Arc<Public>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
}

impl Acceptor {
    /// Accepts until it is to stop; those who have knocked by then are turned away.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn run(&self, listener: &TcpListener) {
        let mut accepted_in_cycle = 0;
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if is_short(&error) => {
                    if let Some(unlogged) = self.shared.short.may_log() {
                        tracing::warn!(%error, unlogged, "cannot accept: out of file descriptors or memory; raise the limit of open files, or lower limits.connections");
                    }
                    tokio::time::sleep(SHORT_REST).await;
                }
                // The peer has gone already, or the like.
                Err(error) => tracing::debug!(%error, "accepting failed"),
            }
            accepted_in_cycle += 1;
            if accepted_in_cycle == ACCEPTED_A_CYCLE {
                accepted_in_cycle = 0;
                tokio::task::yield_now().await;
            }
        }
        for _ in 0..BACKLOG {
            let Ok((stream, _)) = SockRef::from(listener).accept() else { break };
            full::turn_away(&stream.into());
        }
    }

    fn admit(&self, stream: TcpStream) {
        let (hub, here) = (&self.worker.hub, self.worker.index);
        let home = home(&hub.workers, here);
        let handle = &hub.workers[home];
        let Some(permit) = Permit::take(&hub.connections, hub.connections_max, &handle.load) else {
            return self.refuse("limit", stream);
        };
        if home == here {
            let served = self.public.serve_here(Rc::clone(&self.worker), stream, permit, self.stop.clone());
            self.worker.tasks.spawn_local(served);
            return;
        }
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a socket failed on its way to its worker"),
        };
        let Err(socket) = handle.inbox.adopt(Socket { stream, permit }) else { return };
        match TcpStream::from_std(socket.stream) {
            Ok(stream) => self.refuse("overload", stream),
            Err(error) => tracing::debug!(%error, "a socket failed before it was turned away"),
        }
    }

    fn refuse(&self, reason: &'static str, stream: TcpStream) {
        self.metrics.rejected(reason);
        self.shared.full.turn_away(stream, &self.worker.tasks);
    }
}

/// The worker for a socket that was accepted by that one.
fn home(workers: &Workers, here: usize) -> usize {
    let load = |worker: usize| workers[worker].load.load(Ordering::Relaxed);
    let fewest = (0..workers.len()).map(load).min().unwrap_or_default();
    let is_fair = load(here) <= fewest + MORE_AT_MOST + fewest / MORE_AT_MOST_SHARE;
    if is_fair { here } else { workers.least_loaded() }
}

/// Whether it is for want of file descriptors or memory, which may come back.
fn is_short(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::Namespaces;

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

    #[cfg(target_os = "linux")]
    #[test]
    fn sockets_are_dealt_out_among_the_listeners_of_one_address() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _guard = runtime.enter();
        let listeners =
            bind_many("127.0.0.1:0".parse().expect("an address"), 32 * 1024, 3).expect("they bind");
        assert_eq!(listeners.len(), 3);
        let address = listeners[0].local_addr().expect("bound");
        let clients: Vec<_> = (0..128).map(|_| std::net::TcpStream::connect(address)).collect();
        let accepted = listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count());
        let accepted: Vec<_> = accepted.collect();
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
        assert_eq!(accepted.iter().sum::<usize>(), clients.len(), "none is lost");
    }

    #[test]
    fn who_has_more_than_its_share_hands_over() {
        let workers = Workers::new(2, &Namespaces::new(&Default::default()));
        for (loads, at_home) in [
            ([0, 0], true),
            ([1, 0], true),
            ([2, 0], false),
            ([17, 16], true),
            ([18, 16], true),
            ([19, 16], false),
        ] {
            for (worker, load) in workers.iter().zip(loads) {
                worker.load.store(load, Ordering::Relaxed);
            }
            assert_eq!(home(&workers, 0), if at_home { 0 } else { 1 }, "{loads:?}");
            assert_eq!(home(&workers, 1), 1, "{loads:?}");
        }
    }
}
