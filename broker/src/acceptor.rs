//! Accepts sockets, on the thread of a worker, which serves them itself unless another is to have them.

pub(crate) mod accepting;
pub(crate) mod entrance;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use crate::address::networks::contain;
use crate::http::Public;
use crate::inbox::Socket;
use crate::operation::limit;
use crate::permit::Permit;
use crate::worker::{Doors, Worker};
use entrance::{Entrance, Refused};

/// How long accepting rests when the process is out of file descriptors or the system of memory.
const SHORT_REST: Duration = Duration::from_millis(50);
/// Sockets that a worker accepts before its other tasks have had their turn.
const ACCEPTED_A_CYCLE: usize = 8;

/// A worker's share in accepting.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) worker: Rc<Worker>,
    pub(crate) public: Arc<Public>,
    pub(crate) stop: CancellationToken,
}

impl Acceptor {
    /// Accepts, whenever it is this worker that is to, until it is to stop; those who have knocked by then are turned away.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn run(&self) {
        let (Self { entrance, stop, .. }, here) = (self, self.worker.index);
        while stop.run_until_cancelled(entrance.accepting.turn_of(here)).await.is_some() {
            let listening = listen_here(Arc::clone(entrance));
            match listening {
                Ok(listener) => self.accept_from(&listener).await,
                Err(error) => self.rest(&error).await,
            }
        }
        if entrance.accepting.worker() == here {
            entrance.close();
        }
    }

    /// Accepts until it is to stop, or another worker is to accept.
    async fn accept_from(&self, listener: &AsyncFd<Arc<Entrance>>) {
        let mut in_cycle = 0;
        let next = || listener.async_io(Interest::READABLE, |entrance| entrance.accept());
        while let Some(accepted) = self.stop.run_until_cancelled(next()).await {
            match accepted {
                Ok((stream, _)) if self.stop.is_cancelled() => self.entrance.turn_away(&stream),
                Ok((stream, from)) => self.admit(stream, from),
                Err(error) if is_short(&error) => self.rest(&error).await,
                // The peer has gone already, or the like.
                Err(error) => tracing::debug!(%error, "accepting failed"),
            }
            if self.entrance.accepting.worker() != self.worker.index {
                return;
            }
            in_cycle += 1;
            if in_cycle == ACCEPTED_A_CYCLE {
                in_cycle = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn rest(&self, error: &io::Error) {
        self.entrance.say_short(error);
        tokio::time::sleep(SHORT_REST).await;
    }

    fn admit(&self, stream: std::net::TcpStream, from: IpAddr) {
        let (hub, here) = (&self.worker.hub, self.worker.index);
        let home = hub.workers.next_for_socket(hub.config().server.testing.spread);
        let handle = &hub.workers[home];
        let Some(mut permit) = Permit::take(&hub.connections, hub.connections_max(), &handle.load) else {
            return self.entrance.refuse(Refused::Limit, stream, &self.worker.tasks);
        };
        if !contain(&hub.config().server.trusted_proxies, from) {
            // Whom a proxy brings is counted when it has said so.
            match limit::enter(hub, from) {
                Ok(counted) => permit.count_among(counted),
                Err(_) => return self.entrance.refuse(Refused::Address, stream, &self.worker.tasks),
            }
        }
        let socket = Socket { stream, permit, from };
        if home == here {
            let served = self.public.serve(Rc::clone(&self.worker), socket, self.stop.clone());
            self.worker.tasks.spawn_local(served);
        } else if let Err(socket) = handle.inbox.adopt(socket) {
            self.entrance.refuse(Refused::Overload, socket.stream, &self.worker.tasks);
        }
    }
}

/// Has this thread's runtime wait for the listener.
fn listen_here(entrance: Arc<Entrance>) -> io::Result<AsyncFd<Arc<Entrance>>> {
    #[expect(deprecated, reason = "its successor is unsafe, and a listener keeps the promise it wants")]
    AsyncFd::with_interest(entrance, Interest::READABLE)
}

/// Whether it is for want of file descriptors or memory, which may come back.
fn is_short(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::LocalSet;

    use super::accepting::Accepting;
    use super::entrance::bind;
    use super::*;
    use crate::http::metrics::HttpMetrics;
    use crate::worker::tests::worker;

    #[tokio::test]
    async fn a_worker_accepts_from_when_it_is_to_until_another_is_to() {
        let test = async {
            let worker = worker();
            let metrics = HttpMetrics::new(&worker.hub.registry);
            let public = Public::new(&worker.hub, worker.index, Arc::clone(&metrics), None);
            let listener = bind("127.0.0.1:0".parse().expect("an address"), 32 * 1024).expect("binds");
            let address = listener.local_addr().expect("bound");
            let accepting = Arc::new(Accepting::default());
            accepting.pass_to(1);
            let entrance =
                Entrance::new(listener, Arc::clone(&accepting), metrics, false).expect("it is taken over");
            let stop = CancellationToken::new();
            let acceptor = Acceptor { entrance, worker: Rc::clone(&worker), public, stop: stop.clone() };
            let running = tokio::task::spawn_local(async move { acceptor.run().await });
            let ask = async || {
                let mut peer = TcpStream::connect(address).await.expect("there is room");
                peer.write_all(b"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    .await
                    .expect("room");
                let mut answer = String::new();
                peer.read_to_string(&mut answer).await.map(|_| answer)
            };
            let mut waiting = pin!(ask());
            for _ in 0..100 {
                tokio::task::yield_now().await;
                assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it is another's to accept");
            }
            accepting.pass_to(0);
            assert!(waiting.await.expect("an answer").starts_with("HTTP/1.1 404"));
            accepting.pass_to(1);
            // It learns of that with what it accepts next.
            assert!(ask().await.expect("an answer").starts_with("HTTP/1.1 404"));
            let mut waiting = pin!(ask());
            for _ in 0..100 {
                tokio::task::yield_now().await;
                assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it is another's again");
            }
            stop.cancel();
            running.await.expect("it ends in peace");
        };
        let test = LocalSet::new().run_until(tokio::time::timeout(Duration::from_secs(10), test)).await;
        test.expect("whoever is to be served is");
    }
}
