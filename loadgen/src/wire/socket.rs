//! A socket to the broker and its two halves, read in a way that costs next to nothing.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::outgoing::{Opcode, Outgoing};
use super::tls::{SecuredHalf, Trust};
use super::websocket::{Incoming, Incomings, Violation};
use crate::machine::clock::now_ns;
use crate::machine::limits::no_port_left;

/// What a thread reads at once; larger frames make it grow.
const BUFFER_BYTES: usize = 128 * 1024;

/// What a thread reads into: one for all its connections, since only one is read at a time.
#[derive(Debug)]
pub(crate) struct Buffer(RefCell<Vec<u8>>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(vec![0; BUFFER_BYTES]))
    }
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum ConnectionEnd {
    /// The broker closed it, with this code if it gave one.
    Closed(Option<u16>),
    /// The connection broke.
    Io(std::io::Error),
    /// The broker refused something and the connection cannot serve its purpose.
    Refused(String),
    Violation(Violation),
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Some(code)) => write!(f, "closed by the broker with {code}"),
            Self::Closed(None) => f.write_str("closed by the broker without a code"),
            Self::Io(e) => write!(f, "connection broken: {e}"),
            Self::Refused(why) => f.write_str(why),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl std::error::Error for ConnectionEnd {}

/// How a socket comes to its server.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) server: SocketAddr,
    /// The address that it comes from, where it matters.
    pub(crate) source: Option<IpAddr>,
    /// What the kernel may hold of what has not been read, in bytes, where that is not its own choice.
    pub(crate) receive_buffer_bytes: Option<u32>,
    /// By whom the server is known, where it is reached by TLS.
    pub(crate) trust: Option<Trust>,
}

/// A connection to the server on which nothing was said.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl Route {
    /// Opens a TCP connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = if self.server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let explain = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::AddrInUse => {
                anyhow::Error::new(e).context(no_port_left())
            }
            _ => e.into(),
        };
        if let Some(source) = self.source {
            socket.bind((source, 0).into()).map_err(explain)?;
        }
        socket.connect(self.server).await.map_err(explain)
    }

    /// Opens a connection, and TLS on it where that is asked for.
    pub(crate) async fn open(&self) -> anyhow::Result<Socket> {
        let tcp = self.connect().await?;
        Ok(match &self.trust {
            None => Socket::Plain(tcp),
            Some(trust) => Socket::Secured(trust.secure(tcp).await?),
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Secured(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Secured(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Secured(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Secured(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// The halves of a stream that has become a WebSocket; `early` came with the handshake's answer.
pub(crate) fn halves(socket: Socket, early: &[u8]) -> (Reader, Writer) {
    let (read, write) = match socket {
        Socket::Plain(tcp) => {
            let (read, write) = tcp.into_split();
            (ReadHalf::Plain(read), WriteHalf::Plain(write))
        }
        Socket::Secured(tls) => {
            let half = SecuredHalf::new(tls);
            (ReadHalf::Secured(half.clone()), WriteHalf::Secured(half))
        }
    };
    let mut incomings = Incomings::default();
    incomings.keep(early);
    let reader = Reader { half: read, incomings, early: !early.is_empty() };
    (reader, Writer { half: write, silent: false })
}

#[derive(Debug)]
enum ReadHalf {
    Plain(OwnedReadHalf),
    Secured(SecuredHalf),
}

#[derive(Debug)]
enum WriteHalf {
    Plain(OwnedWriteHalf),
    Secured(SecuredHalf),
}

impl ReadHalf {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Self::Secured(half) => half.poll_read(cx, buf),
        }
    }
}

/// The half that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    half: ReadHalf,
    incomings: Incomings,
    /// Something came with the handshake's answer and has not been looked at.
    early: bool,
}

impl Reader {
    /// Reads once and shows `on_incoming` each message, ping and pong that is whole now, with the time of
    /// the read.
    ///
    /// Cancel safe: what was read has been shown.
    ///
    /// # Errors
    /// How the connection ended, or what `on_incoming` made of it.
    pub(crate) async fn read(
        &mut self,
        buffer: &Buffer,
        mut on_incoming: impl FnMut(u64, Incoming<'_>) -> Result<(), ConnectionEnd>,
    ) -> Result<(), ConnectionEnd> {
        let filled_up = poll_fn(|cx| {
            let mut buffer = buffer.0.borrow_mut();
            let unfinished = self.incomings.unfinished();
            let unfinished_bytes = unfinished.len();
            if 2 * unfinished_bytes > buffer.len() {
                // Bounded, as what is unfinished is.
                let length = 2 * buffer.len();
                buffer.resize(length, 0);
            }
            let mut into = ReadBuf::new(&mut buffer);
            into.put_slice(unfinished);
            if !self.early {
                // A read that does not fill the buffer has emptied the socket, and tokio knows: the next
                // call waits without another system call. (`try_read` would not.)
                ready!(self.half.poll_read(cx, &mut into)).map_err(ConnectionEnd::Io)?;
                if into.filled().len() == unfinished_bytes {
                    return Poll::Ready(Err(ConnectionEnd::Closed(None)));
                }
            }
            self.early = false;
            let now = now_ns();
            let filled_up = into.remaining() == 0;
            let mut rest = into.filled();
            while let Some(incoming) = self.incomings.next(&mut rest).map_err(ConnectionEnd::Violation)? {
                match incoming {
                    Incoming::Close(code) => return Poll::Ready(Err(ConnectionEnd::Closed(code))),
                    incoming => on_incoming(now, incoming)?,
                }
            }
            self.incomings.keep(rest);
            Poll::Ready(Ok(filled_up))
        })
        .await?;
        if filled_up {
            // There is more, but the others have waited for their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits until the server ends the TCP connection, of which nothing more is to be read.
    pub(crate) async fn end(&mut self) {
        // However it ends, it has ended.
        let mut byte = [0];
        drop(poll_fn(|cx| self.half.poll_read(cx, &mut ReadBuf::new(&mut byte))).await);
    }
}

/// The half that writes. Says goodbye when it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    half: WriteHalf,
    /// Nothing more is to be said.
    pub(crate) silent: bool,
}

impl Writer {
    /// Writes as much of `bytes` as goes without waiting; returns how much that was.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize, ConnectionEnd> {
        let written = match &self.half {
            WriteHalf::Plain(half) => half.try_write(bytes),
            WriteHalf::Secured(half) => half.try_write(bytes),
        };
        match written {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
            result => result.map_err(ConnectionEnd::Io),
        }
    }

    /// Ends the connection without a goodbye, as a process does that is killed.
    pub(crate) fn abort(mut self) -> std::io::Result<()> {
        self.silent = true;
        match &self.half {
            WriteHalf::Plain(half) => half.as_ref().set_zero_linger(),
            WriteHalf::Secured(half) => half.set_zero_linger(),
        }
    }

    /// Returns when writing may go on. Cancel safe.
    pub(crate) async fn writable(&self) -> Result<(), ConnectionEnd> {
        let writable = match &self.half {
            WriteHalf::Plain(half) => half.writable().await,
            WriteHalf::Secured(half) => poll_fn(|cx| half.poll_writable(cx)).await,
        };
        writable.map_err(ConnectionEnd::Io)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.silent {
            return;
        }
        let mut out = Outgoing::default();
        out.frame(Opcode::Close, &[&1000u16.to_be_bytes()]);
        // Whoever does not get it sees the connection end all the same.
        self.try_write(out.bytes()).ok();
    }
}
