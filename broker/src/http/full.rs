//! What those are told who are above a limit of connections.

use std::io::Read as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::write_timeout::WriteTimeout;
use crate::stream::Stream;

/// The answer that a socket above a limit gets.
pub(crate) const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// The answer that a socket above a limit of its address gets.
pub(crate) const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Sockets that may be waited for until they have read it: each takes a file descriptor meanwhile.
const TOLD_AT_ONCE_MAX: usize = 8;
/// The time for which one may take nothing of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Turns sockets away, so that they learn why.
#[derive(Debug)]
pub(crate) struct Full {
    permits: Arc<Semaphore>,
}

impl Default for Full {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(TOLD_AT_ONCE_MAX)) }
    }
}

impl Full {
    /// Tells the peer to come again later, and closes its socket: by a task that is among `tasks`, so that the end waits for
    /// it.
    pub(crate) fn turn_away(&self, stream: TcpStream, answer: &'static [u8], tasks: &TaskTracker) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            // What its peer sends may destroy the answer, which is why the others are waited for.
            return say_on(&SockRef::from(&stream), answer);
        };
        let mut stream = WriteTimeout::new(stream.into(), WRITE_TIMEOUT, Arc::default());
        tasks.spawn(async move {
            if stream.write_all(answer).await.is_ok() {
                drop(stream.shutdown().await);
            }
            drop(permit);
        });
    }
}

/// Answers 503 without waiting for the request, unless it would have to be said in TLS. The socket is to be dropped then.
pub(crate) fn turn_away(stream: &std::net::TcpStream, is_secured: bool) {
    if is_secured || stream.set_nonblocking(true).is_err() {
        return;
    }
    say_on(&SockRef::from(stream), FULL);
}

/// Answers 503 on a socket of which nothing was read. It is to be dropped then.
pub(super) fn say_and_close(stream: &Stream) {
    // In TLS it would have to be encrypted, and the time for that is over.
    if let Stream::Plain(tcp) = stream {
        say_on(&SockRef::from(tcp), FULL);
    }
}

/// Answers 429 on a socket of which no request was read. It is to be dropped then.
pub(super) fn say_too_many(tcp: &TcpStream) {
    say_on(&SockRef::from(tcp), TOO_MANY);
}

/// A fresh socket takes so little at once, or its peer does without the reason. What it has sent already is read, or the kernel
/// would follow the answer up with a reset.
fn say_on(socket: &SockRef<'_>, answer: &[u8]) {
    drop(socket.send(answer).and_then(|_| socket.shutdown(Shutdown::Write)));
    drop((&**socket).read(&mut [0; 4096]));
}
