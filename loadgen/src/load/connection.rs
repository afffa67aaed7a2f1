//! One WebSocket to the broker: opened and greeted, then read in a way that costs next to nothing.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use fanfare_protocol::{Position, TopicName};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::load::plan::Plan;
use crate::machine::clock::now_ns;
use crate::machine::limits::no_port_left;
use crate::target::{Dialect, Event, Role};
use crate::wire::handshake::Upgrade;
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::websocket::{Incoming, Incomings, Violation};

/// How long one connection may take to stand.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to end a connection that both sides have closed.
const TCP_END_TIMEOUT: Duration = Duration::from_secs(1);
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

/// One connection and the talk on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) talk: Talk,
}

impl Connection {
    /// Connects as number `n`, becomes a WebSocket and is greeted: ready to subscribe and publish.
    ///
    /// # Errors
    /// What the broker did not do within [`CONNECT_TIMEOUT`], or how it refused.
    pub(crate) async fn open(
        plan: &Plan,
        role: Role,
        topic: u32,
        n: u64,
        buffer: &Buffer,
    ) -> anyhow::Result<Self> {
        Self::open_with(plan, &plan.upgrade(role, topic), role, topic, n, buffer).await
    }

    /// The same by a request that says more.
    pub(crate) async fn open_with(
        plan: &Plan,
        upgrade: &Upgrade,
        role: Role,
        topic: u32,
        n: u64,
        buffer: &Buffer,
    ) -> anyhow::Result<Self> {
        let opened = async {
            let mut stream = connect(plan, n).await?;
            let early = upgrade.perform(&mut stream).await?;
            let dialect = Dialect::new(plan.target, &plan.context(role, topic, n));
            let mut connection = Self::new(dialect, stream, &early, n);
            connection.greet(buffer).await?;
            anyhow::Ok(connection)
        };
        timeout(CONNECT_TIMEOUT, opened)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer in {CONNECT_TIMEOUT:?}")))
            .with_context(|| format!("cannot connect to {}", plan.server.address))
    }

    fn new(dialect: Dialect, stream: TcpStream, early: &[u8], n: u64) -> Self {
        let (read, write) = stream.into_split();
        let mut incomings = Incomings::default();
        incomings.keep(early);
        Self {
            reader: Reader { half: read, incomings, early: !early.is_empty() },
            writer: Writer { half: write, silent: false },
            talk: Talk { dialect, out: Outgoing::new(n) },
        }
    }

    async fn greet(&mut self, buffer: &Buffer) -> anyhow::Result<()> {
        let mut ready = self.talk.dialect.open(&mut self.talk.out);
        self.flush().await?;
        while !ready {
            let greeted = self.read(buffer, |_, event| {
                match event {
                    Event::Error { why, .. } => return Err(Ended::Refused(why)),
                    event => ready |= event == Event::Ready,
                }
                Ok(())
            });
            greeted.await?;
        }
        Ok(())
    }

    /// Asks for subscriptions, where the target allows it after a position. Whether as many
    /// [`Event::Subscribed`] follow is the [target's](crate::target::Target::confirms_subscriptions) affair.
    pub(crate) async fn subscribe<'a>(
        &mut self,
        topics: impl IntoIterator<Item = (&'a TopicName, Option<Position>)>,
    ) -> Result<(), Ended> {
        for (topic, since) in topics {
            self.talk.dialect.subscribe(topic, since, &mut self.talk.out);
        }
        self.flush().await
    }

    /// Reads once, shows `on_event` what that means and when it was read, and sends what must be answered.
    ///
    /// Cancel safe: what was read has been shown.
    ///
    /// # Errors
    /// How the connection ended, or what `on_event` made of it.
    pub(crate) async fn read(
        &mut self,
        buffer: &Buffer,
        mut on_event: impl FnMut(u64, Event) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        let Self { reader, writer, talk } = self;
        let read = reader.read(buffer, |now, incoming| {
            talk.take(incoming, |event| on_event(now, event))?;
            match talk.out.is_empty() {
                true => Ok(()),
                // A few bytes, where nothing else is ever written, have room in all likelihood.
                false => writer.try_write(talk.out.bytes()).map(|written| talk.out.written(written)),
            }
        });
        read.await
    }

    /// Says goodbye and waits until the broker has closed the connection.
    ///
    /// # Errors
    /// How it ended otherwise.
    pub(crate) async fn close(mut self, buffer: &Buffer) -> Result<(), Ended> {
        self.talk.out.frame(Opcode::Close, &[&1000u16.to_be_bytes()]);
        self.flush().await?;
        self.writer.silent = true;
        let mut closed = Ok(());
        while closed.is_ok() {
            closed = self.read(buffer, |_, _| Ok(())).await;
        }
        match closed {
            Err(Ended::Closed(_)) => {}
            closed => return closed,
        }
        // It is the server that ends the TCP connection; one that never does is none the worse for it.
        let mut end = [0];
        timeout(TCP_END_TIMEOUT, self.reader.half.read(&mut end)).await.ok();
        Ok(())
    }

    /// Breaks off without a goodbye, as a process does that is killed.
    pub(crate) fn abort(mut self) -> std::io::Result<()> {
        self.writer.silent = true;
        self.writer.half.as_ref().set_zero_linger()
    }

    /// Writes all that waits to be said.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        while !self.talk.out.is_empty() {
            let written = self.writer.try_write(self.talk.out.bytes())?;
            self.talk.out.written(written);
            if !self.talk.out.is_empty() {
                self.writer.writable().await?;
            }
        }
        Ok(())
    }
}

/// What is said on a connection, and what waits to be said.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) dialect: Dialect,
    pub(crate) out: Outgoing,
}

impl Talk {
    /// Shows `on_event` what came in; what must be answered waits in `out` then.
    pub(crate) fn take(
        &mut self,
        incoming: Incoming<'_>,
        on_event: impl FnMut(Event) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        match incoming {
            Incoming::Message(message) => self.dialect.read(message, &mut self.out, on_event),
            Incoming::Ping(body) => {
                self.out.frame(Opcode::Pong, &[body]);
                Ok(())
            }
            Incoming::Close(code) => Err(Ended::Closed(code)),
        }
    }
}

/// Opens a TCP connection as number `n`.
pub(crate) async fn connect(plan: &Plan, n: u64) -> anyhow::Result<TcpStream> {
    let server = plan.server.address;
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(bytes) = plan.receive_buffer_bytes(n) {
        socket.set_recv_buffer_size(bytes)?;
    }
    let explain = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::AddrInUse => {
            anyhow::Error::new(e).context(no_port_left())
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
    /// Nothing more is to be said.
    pub(crate) silent: bool,
}

impl Writer {
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
