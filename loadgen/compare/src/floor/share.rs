//! One thread's share of the sockets.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tungstenite::protocol::frame::coding::{Control, OpCode};

use super::frames;

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What is asked of a thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Send this frame to the subscribers of a topic.
    Send(Arc<Publication>),
    /// Serve this socket.
    Serve(std::net::TcpStream),
}

#[derive(Debug)]
pub(super) struct Publication {
    topic: String,
    /// The frame that goes out: the publication with its WebSocket header.
    frame: Vec<u8>,
}

/// The sockets of one thread and what they subscribe to.
#[derive(Debug)]
pub(super) struct Share {
    /// Descriptors of their own, side by side: to go from one socket to the next costs no cache miss.
    topics: RefCell<HashMap<String, Slab<OwnedFd>>>,
    /// All threads, this one among them.
    all: Vec<mpsc::Sender<Command>>,
    /// How many sockets were full.
    cut: Cell<u64>,
    /// How many that were when it was last said.
    said: Cell<u64>,
}

impl Share {
    pub(super) fn new(all: Vec<mpsc::Sender<Command>>) -> Self {
        Self { topics: RefCell::default(), all, cut: Cell::new(0), said: Cell::new(0) }
    }

    /// Does what is asked until nobody can ask any more.
    pub(super) async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let share = Rc::new(self);
        let mut sockets = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Send(publication)) => share.send(&publication),
                    Some(Command::Serve(stream)) => drop(sockets.spawn_local(share.clone().serve(stream))),
                    None => return,
                },
                Some(ended) = sockets.join_next() => share.note(ended.expect("no panic")),
            }
        }
    }

    /// The loop that all is about.
    fn send(&self, Publication { topic, frame }: &Publication) {
        let topics = self.topics.borrow();
        let Some(sockets) = topics.get(topic) else { return };
        for (_, socket) in sockets {
            let full = match send(socket, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(length) => length < frame.len(),
                // One that has left is taken out by its reader.
                Err(e) => e == Errno::AGAIN,
            };
            if full {
                self.cut.set(self.cut.get() + 1);
                // Its reader sees the end of it; if it has already, all is well.
                shutdown(socket, Shutdown::Both).ok();
            }
        }
    }

    /// Says what went wrong, but not a thousand times.
    fn note(&self, ended: anyhow::Result<()>) {
        if let Err(e) = ended {
            eprintln!("floor: {e:#}");
        }
        let cut = self.cut.get();
        if cut > 2 * self.said.get() {
            eprintln!("floor: subscribers of a thread that were cut off, because they did not read: {cut}");
            self.said.set(cut);
        }
    }

    async fn serve(self: Rc<Self>, stream: std::net::TcpStream) -> anyhow::Result<()> {
        let mut subscriptions = Vec::new();
        let served = self.read(&TcpStream::from_std(stream)?, &mut subscriptions).await;
        let mut topics = self.topics.borrow_mut();
        for (topic, key) in subscriptions {
            let Some(sockets) = topics.get_mut(&topic) else { continue };
            sockets.remove(key);
            if sockets.is_empty() {
                topics.remove(&topic);
            }
        }
        served
    }

    /// Reads what a client says until it leaves.
    async fn read(&self, socket: &TcpStream, subscriptions: &mut Vec<(String, usize)>) -> anyhow::Result<()> {
        let mut input = Vec::new();
        while read_more(socket, &mut input).await? {
            if let Some(answer) = frames::take_request(&mut input)? {
                reply(socket, &answer)?;
                break;
            }
        }
        loop {
            let length = input.len();
            let mut rest = &mut input[..];
            while let Some((opcode, body)) = frames::take_frame(&mut rest)? {
                match (opcode, &*body) {
                    (OpCode::Data(_), [b'S', b':', topic @ ..]) => {
                        subscriptions.push(self.subscribe(socket, topic)?);
                        reply(socket, &frames::text(&[b"OK ", &*body].concat()))?;
                    }
                    (OpCode::Data(_), [b'P', b':', publication @ ..]) => self.publish(publication).await?,
                    (OpCode::Control(Control::Ping), body) => reply(socket, &frames::pong(body))?,
                    (OpCode::Control(Control::Pong), _) => {}
                    (OpCode::Control(Control::Close), _) => return Ok(()),
                    (opcode, _) => bail!("what is {opcode:?}?"),
                }
            }
            let unread = rest.len();
            input.drain(..length - unread);
            if input.is_empty() {
                // Who only listens holds no buffer.
                input = Vec::new();
            }
            if !read_more(socket, &mut input).await? {
                return Ok(());
            }
        }
    }

    fn subscribe(&self, socket: &TcpStream, topic: &[u8]) -> anyhow::Result<(String, usize)> {
        let topic = std::str::from_utf8(topic)?.to_owned();
        let descriptor = socket.as_fd().try_clone_to_owned()?;
        let key = self.topics.borrow_mut().entry(topic.clone()).or_default().insert(descriptor);
        Ok((topic, key))
    }

    async fn publish(&self, publication: &[u8]) -> anyhow::Result<()> {
        let colon = memchr::memchr(b':', publication).context("P:TOPIC:PAYLOAD is expected")?;
        let (topic, payload) = publication.split_at(colon);
        let topic = std::str::from_utf8(topic)?.to_owned();
        let publication = Arc::new(Publication { topic, frame: frames::text(&payload[1..]) });
        for thread in &self.all {
            thread.send(Command::Send(publication.clone())).await.context("a thread has ended")?;
        }
        Ok(())
    }
}

/// Sends what has room in all likelihood.
fn reply(socket: &TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    match socket.try_write(bytes) {
        Ok(length) if length == bytes.len() => Ok(()),
        _ => bail!("no room for a reply"),
    }
}

/// Appends what was read; false at the end.
async fn read_more(socket: &TcpStream, input: &mut Vec<u8>) -> anyhow::Result<bool> {
    loop {
        socket.readable().await?;
        input.reserve(READ_BYTES);
        match socket.try_read_buf(input) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
            read => return Ok(read? > 0),
        }
    }
}
