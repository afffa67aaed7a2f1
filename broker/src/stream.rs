//! A peer's socket, as everybody reads and writes it: plain, or secured by TLS. [hot]
//!
//! It must not know what is said on it. A plain one costs a branch more than the socket itself.

mod rest;
mod secured;
mod session;

use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use secured::PartedSecured;
pub(crate) use secured::{Kind, Secured, Unsecured};

/// A peer's socket, which belongs to the runtime of a thread.
///
/// What is written is taken as far as the socket takes it. What was taken and has not left yet goes first with whatever is
/// written next, and with [`try_flush`](Self::try_flush).
#[derive(Debug)]
pub(crate) enum Stream {
    /// The bytes go as they are.
    Plain(TcpStream),
    /// The bytes go in records of TLS, which has begun.
    Secured(Box<Secured>),
}

/// A peer's socket between two threads, with all that is known of it.
#[derive(Debug)]
pub(crate) enum Parted {
    /// The bytes go as they are.
    Plain(std::net::TcpStream),
    /// The bytes go in records of TLS.
    Secured(Box<PartedSecured>),
}

impl Stream {
    /// Ready when there may be something to read, the end of the stream included.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Secured(secured) => secured.poll_read_ready(cx),
        }
    }

    /// Ready when the socket may take something.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_write_ready(cx),
            Self::Secured(secured) => secured.poll_write_ready(cx),
        }
    }

    /// Reads what there is, with one system call; `Ok(0)` at the end of the stream. A read that does not fill the buffer
    /// has emptied the socket: saying so to tokio spares the call that would find out.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing, else what the system says.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => read_socket(tcp, buffer),
            Self::Secured(secured) => secured.try_read(buffer),
        }
    }

    /// Writes to the socket; says how much of it was taken.
    ///
    /// # Errors
    /// `WouldBlock` where the socket takes nothing, else what the system says.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Secured(secured) => secured.try_write(bytes),
        }
    }

    /// Writes several pieces in order, with one system call; says how much of them was taken.
    ///
    /// # Errors
    /// `WouldBlock` where the socket takes nothing, else what the system says.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(pieces),
            Self::Secured(secured) => secured.try_write_vectored(pieces),
        }
    }

    /// Writes what was taken and has not left yet.
    ///
    /// # Errors
    /// `WouldBlock` where the socket does not take all of it, else what the system says.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secured(secured) => secured.try_flush(),
        }
    }

    /// Whether something lies in it that was not read yet, the end of the stream included.
    pub(crate) fn has_unread_input(&self) -> bool {
        match self {
            Self::Plain(tcp) => peek(tcp),
            Self::Secured(secured) => secured.has_unread_input(),
        }
    }

    /// Tells the peer that nothing more comes, behind what was taken; it may still be sending.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => SockRef::from(tcp).shutdown(Shutdown::Write),
            Self::Secured(secured) => secured.shutdown_write(),
        }
    }

    /// Who is at the other end, as the system says.
    ///
    /// # Errors
    /// What the system says: mostly that nobody is any more.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(tcp) => tcp.peer_addr(),
            Self::Secured(secured) => secured.peer_addr(),
        }
    }

    /// Whether what is said on it is encrypted.
    pub(crate) fn is_secured(&self) -> bool {
        matches!(self, Self::Secured(_))
    }

    /// Bytes that it holds of what was read or written and is on its way.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Secured(secured) => secured.held_bytes(),
        }
    }

    /// Takes it out of its thread.
    ///
    /// # Errors
    /// What the system says: the socket is closed then.
    pub(crate) fn part(self) -> io::Result<Parted> {
        match self {
            Self::Plain(tcp) => tcp.into_std().map(Parted::Plain),
            Self::Secured(secured) => secured.part().map(|parted| Parted::Secured(Box::new(parted))),
        }
    }
}

impl Parted {
    /// Has it belong to the runtime of this thread.
    ///
    /// # Errors
    /// What the system says: the socket is closed then.
    pub(crate) fn arrive(self) -> io::Result<Stream> {
        match self {
            Self::Plain(tcp) => TcpStream::from_std(tcp).map(Stream::Plain),
            Self::Secured(parted) => parted.arrive().map(|secured| Stream::Secured(Box::new(secured))),
        }
    }
}

/// Whether something lies in a socket that was not read yet, the end of the stream included.
fn peek(tcp: &TcpStream) -> bool {
    SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]).is_ok()
}

/// One read of a socket.
fn read_socket(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = None;
    let result = tcp.try_io(Interest::READABLE, || {
        let read = (&*SockRef::from(tcp)).read(buffer)?;
        count = Some(read);
        if (1..buffer.len()).contains(&read) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
    });
    count.map_or(result, Ok)
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Secured(secured) => {
                let count =
                    ready!(secured.poll_reading(cx, |secured| secured.try_read(buf.initialize_unfilled())))?;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Secured(secured) => secured.poll_writing(cx, |secured| secured.try_write(bytes)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Self::Secured(secured) => secured.poll_writing(cx, |secured| secured.try_write_vectored(pieces)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Secured(secured) => secured.poll_writing(cx, Secured::try_flush),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Secured(secured) => secured.poll_writing(cx, Secured::shutdown_write),
        }
    }
}
