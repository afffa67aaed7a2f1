//! One WebSocket to the broker: opened and greeted, and the talk on it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use fanfare_protocol::{Position, TopicName};
use tokio::time::timeout;

use crate::load::plan::Plan;
use crate::target::{Dialect, Event, Role};
use crate::wire::handshake::Upgrade;
use crate::wire::outgoing::{Opcode, Outgoing};
use crate::wire::socket::{Buffer, ConnectionEnd, Reader, Socket, Writer, halves};
use crate::wire::websocket::Incoming;

/// How long one connection may take to stand.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to end a connection that both sides have closed.
const TCP_END_TIMEOUT: Duration = Duration::from_secs(1);

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

    /// Opens a connection by a request that says more than `plan`'s.
    pub(crate) async fn open_with(
        plan: &Plan,
        upgrade: &Upgrade,
        role: Role,
        topic: u32,
        n: u64,
        buffer: &Buffer,
    ) -> anyhow::Result<Self> {
        let opened = async {
            let mut stream = plan.route(n).open().await?;
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

    fn new(dialect: Dialect, stream: Socket, early: &[u8], n: u64) -> Self {
        let (reader, writer) = halves(stream, early);
        Self { reader, writer, talk: Talk { dialect, out: Outgoing::new(n) } }
    }

    async fn greet(&mut self, buffer: &Buffer) -> anyhow::Result<()> {
        let mut ready = self.talk.dialect.open(&mut self.talk.out);
        self.flush().await?;
        while !ready {
            let greeted = self.read(buffer, |_, event| {
                match event {
                    Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
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
    ) -> Result<(), ConnectionEnd> {
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
        mut on_event: impl FnMut(u64, Event) -> Result<(), ConnectionEnd>,
    ) -> Result<(), ConnectionEnd> {
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
    pub(crate) async fn close(mut self, buffer: &Buffer) -> Result<(), ConnectionEnd> {
        self.talk.out.frame(Opcode::Close, &[&1000u16.to_be_bytes()]);
        self.flush().await?;
        self.writer.silent = true;
        let mut closed = Ok(());
        while closed.is_ok() {
            closed = self.read(buffer, |_, _| Ok(())).await;
        }
        match closed {
            Err(ConnectionEnd::Closed(_)) => {}
            closed => return closed,
        }
        // It is the server that ends the TCP connection; one that never does is none the worse for it.
        timeout(TCP_END_TIMEOUT, self.reader.end()).await.ok();
        Ok(())
    }

    /// Breaks off without a goodbye, as a process does that is killed.
    pub(crate) fn abort(self) -> std::io::Result<()> {
        self.writer.abort()
    }

    /// Writes all that waits to be said.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionEnd> {
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
        on_event: impl FnMut(Event) -> Result<(), ConnectionEnd>,
    ) -> Result<(), ConnectionEnd> {
        match incoming {
            Incoming::Message(message) => self.dialect.read(message, &mut self.out, on_event),
            Incoming::Ping(body) => {
                self.out.frame(Opcode::Pong, &[body]);
                Ok(())
            }
            // Who pings looks for it before.
            Incoming::Pong(_) => Ok(()),
            Incoming::Close(code) => Err(ConnectionEnd::Closed(code)),
        }
    }
}
