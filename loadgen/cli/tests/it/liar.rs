//! A broker of a few lines that lies in the way it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, ErrorCode, ErrorFrame, Gap, Message as Publication, Offset, Payload,
    Position, Recovery, RequestId, ServerFrame, Subscribed, TopicName,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// More frames than any test has under way to one subscriber.
const OUTBOX_FRAMES: usize = 10_000;

/// What the broker does wrong; publications count from 1, over all topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Changes a letter of every tenth payload.
    Alter,
    /// Says of every tenth that it was due a nanosecond earlier, where the payload is a stamp alone.
    Backdate,
    /// Sends every tenth a second time as one of warm-up, where the payload is a stamp alone.
    Belittle,
    /// Closes each subscriber with this code instead of delivering the fiftieth.
    Close(u16),
    /// Drops every tenth.
    Drop,
    /// Drops every tenth and says so.
    DropAndTell,
    /// Drops every tenth and says that it were a hundred.
    DropAndExaggerate,
    /// Delivers every tenth twice.
    Duplicate,
    /// Delivers every tenth twice, the second time much later.
    DuplicateLater,
    /// Delivers to the subscribers of all topics.
    Everywhere,
    /// Closes the publisher instead of taking its fiftieth publication.
    HangUp,
    /// Tells those who continue from a position that nothing is missing, whatever was published meanwhile.
    Forget,
    /// Delivers all but confirms none.
    KeepSilent,
    /// Delivers all in frames of another topic.
    Misdirect,
    /// Delivers all with the offset of the next one.
    Miscount,
    /// Delivers payloads in what is no frame at all.
    Mumble,
    /// Pings before each delivery, and closes a subscriber that has left 150 unanswered.
    Ping,
    /// Tells those who continue from a position that too much is missing.
    Reload,
    /// Refuses every tenth publication.
    Refuse,
    /// Changes all of every tenth payload but its stamp.
    Rewrite,
    /// Refuses every subscription.
    RefuseSubscribers,
    /// Refuses every subscription once something was published.
    RefuseSubscribersLater,
    /// Sends each tenth after the next one.
    Swap,
    /// Takes nothing for half a second before the first publication, and before the fiftieth ping of its protocol.
    Stall,
    /// Leaves every tenth ping of its protocol unanswered.
    Unanswer,
}

impl Lie {
    /// How long a test waits for what is missing: not for long where something is meant to be, and where it
    /// is not as long as a busy machine may need, since a run ends as soon as all is there.
    pub(crate) fn grace(self) -> &'static str {
        match self {
            Self::Alter
            | Self::Backdate
            | Self::Close(_)
            | Self::Drop
            | Self::DropAndExaggerate
            | Self::DropAndTell
            | Self::Forget
            | Self::HangUp
            | Self::Misdirect
            | Self::Miscount
            | Self::Mumble
            | Self::Reload
            | Self::Refuse
            | Self::Rewrite
            | Self::Swap => "--grace 300ms",
            _ => "--grace 10s",
        }
    }
}

/// A running broker; its tasks end with it.
pub(crate) struct Liar {
    pub(crate) url: String,
    published: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    subscribers: HashMap<TopicName, Vec<mpsc::Sender<Out>>>,
    published: u64,
    /// How many pings of its protocol.
    pings: u64,
    told: watch::Sender<u64>,
    /// How many of those to each topic.
    offsets: HashMap<TopicName, u64>,
    /// With its offset.
    held_back: Option<(TopicName, Payload, u64)>,
    /// Deliveries that are still to come.
    later: JoinSet<()>,
}

#[derive(Debug, Clone)]
enum Out {
    Close(u16),
    Frame(Vec<u8>),
    Ping,
}

impl Liar {
    pub(crate) async fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/ws", listener.local_addr().expect("bound"));
        let state = State::default();
        let published = state.told.subscribe();
        let state = Arc::new(Mutex::new(state));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                connections.spawn(serve(stream, lie, state.clone()));
            }
        });
        Self { url, published, _tasks: tasks }
    }

    /// Returns when so many were published.
    pub(crate) async fn until_published(&self, count: u64) {
        let published = self.published.clone().wait_for(|published| *published >= count).await.map(drop);
        published.expect("it runs");
    }
}

async fn serve(stream: TcpStream, lie: Lie, state: Arc<Mutex<State>>) {
    let mut codec = Codec::Json;
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let choose = |request: &Request, mut response: Response| {
        let asked = &request.headers()["sec-websocket-protocol"];
        codec = Codec::from_subprotocol(asked.to_str().expect("ASCII")).expect("a known subprotocol");
        response.headers_mut().insert("sec-websocket-protocol", asked.clone());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, choose).await.expect("a handshake");
    let (outbox, out) = mpsc::channel(OUTBOX_FRAMES);
    converse(socket, Session { codec, lie, state, outbox }, out).await;
}

/// Goes on until either side has had enough.
async fn converse(mut socket: WebSocketStream<TcpStream>, session: Session, mut out: mpsc::Receiver<Out>) {
    let mut pings_open = 0;
    loop {
        let sent = tokio::select! {
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Pong(_))) => {
                    pings_open -= 1;
                    Ok(())
                }
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    session.take(&message.into_data()).await;
                    Ok(())
                }
                _ => return,
            },
            Some(outgoing) = out.recv() => match outgoing {
                Out::Frame(bytes) => socket.send(session.message(bytes)).await,
                Out::Ping if pings_open == 150 => close(&mut socket, 4504).await,
                Out::Ping => {
                    pings_open += 1;
                    socket.send(Message::Ping("are you there".into())).await
                }
                Out::Close(code) => close(&mut socket, code).await,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn close(socket: &mut WebSocketStream<TcpStream>, code: u16) -> Result<(), Error> {
    socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await
}

struct Session {
    codec: Codec,
    lie: Lie,
    state: Arc<Mutex<State>>,
    outbox: mpsc::Sender<Out>,
}

impl Session {
    fn message(&self, bytes: Vec<u8>) -> Message {
        match self.codec {
            Codec::Json => Message::Text(String::from_utf8(bytes).expect("JSON is UTF-8").into()),
            Codec::MessagePack => Message::Binary(bytes.into()),
        }
    }

    async fn take(&self, message: &[u8]) {
        for frame in self.codec.decode_client(message).expect("frames") {
            let ClientFrame { id, op } = frame.expect("a good frame");
            match op {
                ClientOp::Subscribe(_) if self.lie == Lie::RefuseSubscribers => {
                    self.reply(&error(id, ErrorCode::Forbidden));
                }
                ClientOp::Subscribe(_)
                    if self.lie == Lie::RefuseSubscribersLater
                        && self.state.lock().expect("not poisoned").published > 0 =>
                {
                    self.reply(&error(id, ErrorCode::Forbidden));
                }
                ClientOp::Subscribe(subscribe) => {
                    let topic = subscribe.topic.to_name();
                    let recovery = match self.lie {
                        _ if subscribe.since.is_none() => None,
                        Lie::Forget => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            Some(Recovery::Recovered)
                        }
                        Lie::Reload => Some(Recovery::Missed { count: Some(7) }),
                        _ => None,
                    };
                    let mut state = self.state.lock().expect("not poisoned");
                    state.subscribers.entry(topic.clone()).or_default().push(self.outbox.clone());
                    let topic = topic.into();
                    self.reply(&ServerFrame::Subscribed(Subscribed {
                        id,
                        topic,
                        position: position(0),
                        recovery,
                        replayed: 0,
                    }));
                }
                ClientOp::Publish(publish) => {
                    self.publish(id, publish.topic.to_name(), publish.payload.into_owned()).await;
                }
                ClientOp::Ping => self.pong(id).await,
                other => panic!("did not expect {other:?}"),
            }
        }
    }

    async fn pong(&self, id: Option<RequestId>) {
        let pings = {
            let mut state = self.state.lock().expect("not poisoned");
            state.pings += 1;
            state.pings
        };
        match self.lie {
            Lie::Unanswer if pings.is_multiple_of(10) => return,
            Lie::Stall if pings == 50 => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => {}
        }
        self.reply(&ServerFrame::Pong { id });
    }

    async fn publish(&self, id: Option<RequestId>, topic: TopicName, payload: Payload) {
        if self.lie == Lie::Stall && self.state.lock().expect("not poisoned").published == 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let mut state = self.state.lock().expect("not poisoned");
        state.published += 1;
        state.told.send_replace(state.published);
        if self.lie == Lie::HangUp && state.published >= 50 {
            // Those that were under way already find the connection closed.
            self.outbox.try_send(Out::Close(1001)).ok();
            return;
        }
        let tenth = state.published.is_multiple_of(10);
        let offset = state.offsets.entry(topic.clone()).or_default();
        *offset += 1;
        let offset = *offset;
        if self.lie == Lie::Refuse && tenth {
            return self.reply(&error(id, ErrorCode::RateLimited));
        }
        if self.lie != Lie::KeepSilent
            && let Some(id) = id
        {
            let published = ServerFrame::Published {
                id: Some(id),
                topic: (&topic).into(),
                position: position(offset),
                duplicate: false,
            };
            self.reply(&published);
        }
        self.tell(&mut state, topic, payload, offset);
    }

    /// Tells the subscribers of a publication, in the way of this lie.
    fn tell(&self, state: &mut State, topic: TopicName, payload: Payload, offset: u64) {
        let (n, tenth) = (state.published, state.published.is_multiple_of(10));
        match self.lie {
            Lie::Drop if tenth => {}
            Lie::DropAndExaggerate | Lie::DropAndTell if tenth => {
                let gap = Gap {
                    topic: (&topic).into(),
                    epoch: position(0).epoch,
                    from: Offset::new(offset),
                    to: Offset::new(offset),
                    missed: Some(if self.lie == Lie::DropAndTell { 1 } else { 100 }),
                };
                self.send(state, &topic, &ServerFrame::Gap(gap));
            }
            Lie::Alter if tenth => {
                let altered = String::from_utf8_lossy(payload.as_bytes()).replacen('a', "z", 1);
                self.deliver(state, &topic, &Payload::json(&altered).expect("still JSON"), offset);
            }
            Lie::Backdate if tenth => {
                // The last letter before the closing quote: the lowest four bits of when it was due.
                self.deliver(state, &topic, &with_letter(&payload, 33, |letter| letter ^ 1), offset);
            }
            Lie::Rewrite if tenth => {
                let (stamp, padding) = text(&payload).split_at(34);
                let rewritten = format!("{stamp}{}\"", ".".repeat(padding.len() - 1));
                self.deliver(state, &topic, &Payload::json(&rewritten).expect("still JSON"), offset);
            }
            Lie::Swap if tenth => state.held_back = Some((topic, payload, offset)),
            Lie::Misdirect => {
                let other: TopicName = "loadgen:elsewhere:0".parse().expect("a topic name");
                let frame = publication(&other, &payload, offset);
                self.send(state, &topic, &frame);
            }
            Lie::Miscount => self.deliver(state, &topic, &payload, offset + 1),
            Lie::Mumble => {
                let frame = format!("{{um {}, er", text(&payload)).into_bytes();
                self.queue(state, &topic, &Out::Frame(frame));
            }
            Lie::Close(code) if n == 50 => self.queue(state, &topic, &Out::Close(code)),
            Lie::Everywhere => {
                state.subscribers.keys().for_each(|topic| self.deliver(state, topic, &payload, offset))
            }
            _ => {
                self.tell_and_add(state, &topic, &payload, offset);
                if let Some((topic, payload, offset)) = state.held_back.take() {
                    self.deliver(state, &topic, &payload, offset);
                }
            }
        }
    }

    /// Tells them what is true, and more where this lie adds to it.
    fn tell_and_add(&self, state: &mut State, topic: &TopicName, payload: &Payload, offset: u64) {
        let tenth = state.published.is_multiple_of(10);
        if self.lie == Lie::Ping {
            self.queue(state, topic, &Out::Ping);
        }
        self.deliver(state, topic, payload, offset);
        if self.lie == Lie::Duplicate && tenth {
            self.deliver(state, topic, payload, offset);
        }
        if self.lie == Lie::Belittle && tenth {
            // The highest bit of the first letter says that it counts.
            let belittled = with_letter(payload, 2, |letter| letter - 8);
            self.deliver(state, topic, &belittled, offset);
        }
        if self.lie == Lie::DuplicateLater && tenth {
            let frame = Out::Frame(self.encode(&publication(topic, payload, offset)));
            for subscriber in state.subscribers[topic].clone() {
                let frame = frame.clone();
                state.later.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    // Who has left by then has not noticed.
                    subscriber.try_send(frame).ok();
                });
            }
        }
    }

    fn deliver(&self, state: &State, topic: &TopicName, payload: &Payload, offset: u64) {
        self.send(state, topic, &publication(topic, payload, offset));
    }

    /// All connections of a test speak the same codec.
    fn send(&self, state: &State, topic: &TopicName, frame: &ServerFrame<'_>) {
        self.queue(state, topic, &Out::Frame(self.encode(frame)));
    }

    fn queue(&self, state: &State, topic: &TopicName, out: &Out) {
        for subscriber in state.subscribers.get(topic).into_iter().flatten() {
            // One that has been closed stays in the list.
            if let Err(mpsc::error::TrySendError::Full(_)) = subscriber.try_send(out.clone()) {
                panic!("more frames under way than a test should have");
            }
        }
    }

    fn reply(&self, frame: &ServerFrame<'_>) {
        self.outbox.try_send(Out::Frame(self.encode(frame))).expect("room for a reply");
    }

    fn encode(&self, frame: &ServerFrame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.codec.encode_server(frame, &mut bytes);
        bytes
    }
}

fn publication<'a>(topic: &'a TopicName, payload: &'a Payload, offset: u64) -> ServerFrame<'a> {
    ServerFrame::Message(Publication {
        topic: topic.into(),
        offset: Offset::new(offset),
        time: 1,
        payload: payload.as_ref(),
        message_id: None,
        headers: None,
        from: None,
    })
}

fn text(payload: &Payload) -> &str {
    std::str::from_utf8(payload.as_bytes()).expect("JSON is UTF-8")
}

/// The payload with another letter at a place; the letters of a stamp count from `a`.
fn with_letter(payload: &Payload, at: usize, change: fn(u8) -> u8) -> Payload {
    let mut bytes = payload.as_bytes().to_vec();
    bytes[at] = b'a' + change(bytes[at] - b'a');
    Payload::json(std::str::from_utf8(&bytes).expect("still ASCII")).expect("still JSON")
}

fn error(id: Option<RequestId>, code: ErrorCode) -> ServerFrame<'static> {
    ServerFrame::Error(ErrorFrame {
        id,
        topic: None,
        code,
        message: "no".into(),
        retryable: false,
        retry_after_ms: None,
    })
}

fn position(offset: u64) -> Position {
    Position { epoch: "e".parse().expect("an epoch"), offset: Offset::new(offset) }
}
