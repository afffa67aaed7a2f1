//! One WebSocket to the broker: opened, then read in a way that costs next to nothing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::clock::now_ns;
use crate::plan::Plan;
use crate::target::Role;
use crate::websocket::{Incoming, Incomings, Opcode, Violation, write_frame};

/// How long one connection may take to stand.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
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
pub(crate) enum Ended {
    /// The broker closed it, with this code if it gave one.
    Closed(Option<u16>),
    /// The connection broke.
    Io(std::io::Error),
    /// The broker refused something and the connection cannot serve its purpose.
    Refused(String),
    Violation(Violation),
}

impl fmt::Display for Ended {
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

impl std::error::Error for Ended {}

/// Connects and becomes a WebSocket.
pub(crate) async fn open(plan: &Plan, role: Role, topic: u32, n: u64) -> anyhow::Result<(Reader, Writer)> {
    let opened = async {
        let mut stream = connect(plan, n).await?;
        let early = plan.upgrade(role, topic).perform(&mut stream).await?;
        anyhow::Ok((stream, early))
    };
    let (stream, early) = timeout(CONNECT_TIMEOUT, opened)
        .await
        .unwrap_or_else(|_| Err(anyhow!("no answer in {CONNECT_TIMEOUT:?}")))
        .with_context(|| format!("cannot connect to {}", plan.server.address))?;
    let (read, write) = stream.into_split();
    let mut incomings = Incomings::default();
    incomings.keep(&early);
    Ok((
        Reader { half: read, incomings, early: !early.is_empty() },
        Writer { half: write, masks: Cell::new(n) },
    ))
}

async fn connect(plan: &Plan, n: u64) -> anyhow::Result<TcpStream> {
    let server = plan.server.address;
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let ports_hint = "no port is left on this address: give more --source-addresses";
    let explain = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::AddrInUse => {
            anyhow::Error::new(e).context(ports_hint)
        }
        _ => e.into(),
    };
    if let Some(source) = plan.source_address(n) {
        socket.bind((source, 0).into()).map_err(explain)?;
    }
    socket.connect(server).await.map_err(explain)
}

/// The half that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    incomings: Incomings,
    /// Something came with the handshake's answer and has not been looked at.
    early: bool,
}

impl Reader {
    /// Reads once and shows `on_incoming` each message and ping that is whole now, with the time of the
    /// read.
    ///
    /// Cancel safe: what was read has been shown.
    ///
    /// # Errors
    /// How the connection ended, or what `on_incoming` made of it.
    pub(crate) async fn read(
        &mut self,
        buffer: &Buffer,
        mut on_incoming: impl FnMut(u64, Incoming<'_>) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
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
                ready!(Pin::new(&mut self.half).poll_read(cx, &mut into)).map_err(Ended::Io)?;
                if into.filled().len() == unfinished_bytes {
                    return Poll::Ready(Err(Ended::Closed(None)));
                }
            }
            self.early = false;
            let now = now_ns();
            let filled_up = into.remaining() == 0;
            let mut rest = into.filled();
            while let Some(incoming) = self.incomings.next(&mut rest).map_err(Ended::Violation)? {
                match incoming {
                    Incoming::Close(code) => return Poll::Ready(Err(Ended::Closed(code))),
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
}

/// The half that writes. Says goodbye when it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    half: OwnedWriteHalf,
    masks: Cell<u64>,
}

impl Writer {
    /// A new mask: no secret, but no constant either, so that a broker has to unmask.
    pub(crate) fn next_mask(&self) -> u32 {
        self.masks.set(self.masks.get().wrapping_add(1));
        (self.masks.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    /// Writes as much of `bytes` as goes without waiting; returns how much that was.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize, Ended> {
        match self.half.try_write(bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
            result => result.map_err(Ended::Io),
        }
    }

    /// Returns when writing may go on. Cancel safe.
    pub(crate) async fn writable(&self) -> Result<(), Ended> {
        self.half.writable().await.map_err(Ended::Io)
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() {
            self.writable().await?;
            bytes = &bytes[self.try_write(bytes)?..];
        }
        Ok(())
    }

    /// Answers a ping where nothing else is ever written: its few bytes always have room.
    pub(crate) fn pong(&self, body: &[u8]) -> Result<(), Ended> {
        let mut out = Vec::new();
        write_frame(Opcode::Pong, body, self.next_mask(), &mut out);
        self.try_write(&out).map(drop)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut out = Vec::new();
        write_frame(Opcode::Close, &1000u16.to_be_bytes(), self.next_mask(), &mut out);
        // Whoever does not get it sees the connection end all the same.
        self.try_write(&out).ok();
    }
}
