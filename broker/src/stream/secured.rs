//! A socket secured by TLS: what is written is encrypted a record at a time, and no more before the socket has taken that.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::read_socket;
use super::session::{ENCRYPTED_BYTES, RECORD_BYTES, Session};

/// Bytes that one read takes: a whole record, so that a turn is about as long as without TLS.
const READ_BYTES: usize = ENCRYPTED_BYTES;

/// Buffers that all secured sockets of a thread share.
#[derive(Default)]
struct Scratch {
    read: Vec<u8>,
    gathered: Vec<u8>,
    encrypted: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Lends the buffers of this thread.
fn with_scratch<T>(lend: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take();
    scratch.read.resize(READ_BYTES, 0);
    scratch.encrypted.resize(ENCRYPTED_BYTES, 0);
    let lent = lend(&mut scratch);
    SCRATCH.set(scratch);
    lent
}

/// A socket and what TLS knows of it.
#[derive(Debug)]
pub(crate) struct Secured {
    tcp: TcpStream,
    session: RefCell<Session>,
}

/// The same between two threads.
#[derive(Debug)]
pub(crate) struct PartedSecured {
    tcp: std::net::TcpStream,
    session: RefCell<Session>,
}

/// Why TLS has not begun.
#[derive(Debug)]
pub(crate) enum Unsecured {
    /// The peer does not speak TLS; its first byte.
    NoTls(u8),
    /// It and the broker do not agree, or it speaks it badly.
    Refused(rustls::Error),
    /// The socket failed, or the peer has gone.
    Gone,
}

/// How TLS has begun: its version, and whether it went on with the keys of an earlier connection.
pub(crate) type Kind = (&'static str, &'static str);

/// What is wrong with what a peer has sent, or with what was to be sent to it.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Secured {
    /// A socket on which TLS has yet to begin.
    ///
    /// # Errors
    /// What rustls says of the configuration.
    pub(crate) fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Box<Self>, rustls::Error> {
        Ok(Box::new(Self { tcp, session: RefCell::new(Session::new(config)?) }))
    }

    /// Begins to speak TLS; `early` is what was read of it already. Before each step that costs something `poll_turn` is asked.
    /// Until it is ready the peer has nothing that it could read or write by.
    pub(crate) fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        mut poll_turn: impl FnMut(&Context<'_>) -> Poll<()>,
    ) -> Poll<Result<Kind, Unsecured>> {
        loop {
            while let Err(error) = self.try_flush() {
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Poll::Ready(Err(Unsecured::Gone));
                }
                if ready!(self.tcp.poll_write_ready(cx)).is_err() {
                    return Poll::Ready(Err(Unsecured::Gone));
                }
            }
            let session = self.session.get_mut();
            if !session.is_handshaking() {
                return Poll::Ready(Ok(session.kind()));
            }
            // Whoever only waits takes no turn from those who have something to say.
            if ready!(self.tcp.poll_read_ready(cx)).is_err() {
                return Poll::Ready(Err(Unsecured::Gone));
            }
            ready!(poll_turn(cx));
            let tcp = &self.tcp;
            let begun = with_scratch(|scratch| {
                let count = match read_socket(tcp, &mut scratch.read) {
                    Ok(0) => return Err(Unsecured::Gone),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(_) => return Err(Unsecured::Gone),
                };
                receive_first(session, &scratch.read[..count])
            });
            if let Err(why) = begun {
                return Poll::Ready(Err(why));
            }
        }
    }

    /// The socket where TLS did not begin, and what the peer is to be told of that.
    pub(crate) fn into_failed(self) -> (TcpStream, Vec<u8>) {
        let words = self.session.into_inner().unsent().to_vec();
        (self.tcp, words)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.borrow().is_readable() {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(cx)
    }

    /// Reads with `read`, as soon as there is something.
    pub(super) fn poll_reading<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&Self) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match read(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes with `write`, as soon as the socket takes something.
    pub(super) fn poll_writing<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&Self) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match write(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read(buffer);
        // What TLS itself has to say of it waits for nobody. If it cannot go out now, it does before the next that is written.
        drop(self.try_flush());
        read?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.borrow_mut();
        if !session.is_readable() {
            with_scratch(|scratch| {
                let count = read_socket(&self.tcp, &mut scratch.read)?;
                session.receive(&scratch.read[..count]).map_err(broken)
            })?;
        }
        session.read(buffer).map_err(broken)
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_flush()?;
        let count = bytes.len().min(RECORD_BYTES);
        with_scratch(|scratch| self.write_record(&bytes[..count], &mut scratch.encrypted))
    }

    pub(super) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [] => Ok(0),
            [first, ..] if first.len() >= RECORD_BYTES => self.try_write(first),
            [one] => self.try_write(one),
            many => {
                self.try_flush()?;
                with_scratch(|Scratch { gathered, encrypted, .. }| {
                    gathered.clear();
                    for piece in many {
                        let room = RECORD_BYTES - gathered.len();
                        gathered.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                    self.write_record(gathered, encrypted)
                })
            }
        }
    }

    /// Writes a record, where nothing waits before it. It is taken whole: what the socket does not take of it waits here.
    fn write_record(&self, data: &[u8], room: &mut [u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let mut session = self.session.borrow_mut();
        let count = session.encrypt(data, room).map_err(broken)?;
        let encrypted = &room[..count];
        if !session.unsent().is_empty() {
            // TLS had something to say first.
            session.keep_unsent(encrypted);
            drop(session);
            return match self.try_flush() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(data.len()),
            };
        }
        let sent = match self.tcp.try_write(encrypted) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < encrypted.len() {
            session.keep_unsent(&encrypted[sent..]);
        }
        Ok(data.len())
    }

    pub(super) fn try_flush(&self) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        while !session.unsent().is_empty() {
            let sent = self.tcp.try_write(session.unsent())?;
            session.sent(sent);
        }
        if session.is_closed() {
            drop(SockRef::from(&self.tcp).shutdown(Shutdown::Write));
        }
        Ok(())
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    pub(super) fn has_unread_input(&self) -> bool {
        self.session.borrow().is_readable() || super::peek(&self.tcp)
    }

    /// Tells the peer in TLS that nothing more comes; the socket is shut when that is on its way.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        self.session.borrow_mut().close();
        self.try_flush()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.session.borrow().held_bytes()
    }

    pub(super) fn part(self) -> io::Result<PartedSecured> {
        let Self { tcp, session } = self;
        Ok(PartedSecured { tcp: tcp.into_std()?, session })
    }
}

impl PartedSecured {
    pub(super) fn arrive(self) -> io::Result<Secured> {
        let Self { tcp, session } = self;
        Ok(Secured { tcp: TcpStream::from_std(tcp)?, session })
    }
}

/// Takes in what has come of the beginning. TLS begins with a record of the handshake, and nothing else begins so.
fn receive_first(session: &mut Session, bytes: &[u8]) -> Result<(), Unsecured> {
    const HANDSHAKE: u8 = 22;
    if !session.has_begun() && bytes[0] != HANDSHAKE {
        return Err(Unsecured::NoTls(bytes[0]));
    }
    session.receive(bytes).map_err(Unsecured::Refused)
}
