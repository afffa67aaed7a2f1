//! A polite and independent client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use fanfare::Broker;
use fanfare_protocol::Codec;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::deadline::soon;
use crate::raw::RawSocket;
use crate::tls;

/// A client of the native protocol that shares no code with the broker below the frames.
///
/// Frames are JSON values here, whichever codec they travel in.
#[derive(Debug)]
pub struct Client {
    codec: Codec,
    socket: WebSocketStream<TcpStream>,
    /// Frames of one message that nobody has asked for yet.
    received: VecDeque<Value>,
}

impl Client {
    /// A connection that speaks JSON.
    pub async fn connect(broker: &Broker) -> Self {
        Self::connect_with(broker, Codec::Json).await
    }

    /// A connection that speaks that codec.
    pub async fn connect_with(broker: &Broker, codec: Codec) -> Self {
        Self::connect_to(broker.public_addr(), "/ws", codec).await
    }

    /// Connects to a path and query of an address: `/ws`, or `/ws/room:42?echo=false` for a raw connection.
    pub async fn connect_to(address: SocketAddr, path: &str, codec: Codec) -> Self {
        let request = request(address, path, codec);
        let stream = tls::connect(address, None).await;
        Self::upgrade(stream, request, codec).await
    }

    /// A connection to a path and query of the broker whose kernel keeps little of what is not read.
    pub async fn connect_with_little_buffer(broker: &Broker, path: &str, codec: Codec) -> Self {
        Self::connect_to_with_little_buffer(broker.public_addr(), path, codec).await
    }

    /// A connection to a path and query of an address whose kernel keeps little of what is not read.
    pub async fn connect_to_with_little_buffer(address: SocketAddr, path: &str, codec: Codec) -> Self {
        let stream = RawSocket::connect_with_little_buffer(address).await.stream;
        Self::upgrade(stream, request(address, path, codec), codec).await
    }

    async fn upgrade(stream: TcpStream, request: Request, codec: Codec) -> Self {
        let upgraded = soon("an upgrade", tokio_tungstenite::client_async(request, stream)).await;
        let (socket, _) = upgraded.expect("the broker accepts");
        Self { codec, socket, received: VecDeque::new() }
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: Value) {
        let json = frame.to_string();
        let message = match self.codec {
            Codec::Json => Message::text(json),
            Codec::MessagePack => {
                let frames = Codec::Json.decode_client(json.as_bytes()).expect("a map");
                let mut packed = Vec::new();
                self.codec.encode_client(frames[0].as_ref().expect("a good frame"), &mut packed);
                Message::binary(packed)
            }
        };
        self.send_message(message).await;
    }

    /// Sends a WebSocket message as it is: an array, a payload of a raw connection, nonsense.
    pub async fn send_message(&mut self, message: Message) {
        soon("room to send", self.socket.send(message)).await.expect("the connection is open");
    }

    /// The next WebSocket message that is no ping or pong; a close too.
    pub async fn receive_message(&mut self) -> Message {
        loop {
            let message = soon("a message", self.socket.next()).await.expect("the connection is open");
            match message.expect("a good message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next frame, for which it may take so long.
    pub async fn expect_within(&mut self, time: Duration) -> Value {
        while self.received.is_empty() {
            let message = tokio::time::timeout(time, self.socket.next()).await.expect("a message in time");
            match message.expect("the connection is open").expect("a good message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => self.take(&message),
            }
        }
        self.received.pop_front().expect("there is one")
    }

    /// The next frame.
    pub async fn receive(&mut self) -> Value {
        while self.received.is_empty() {
            let message = self.receive_message().await;
            self.take(&message);
        }
        self.received.pop_front().expect("there is one")
    }

    fn take(&mut self, message: &Message) {
        let json = match (self.codec, message) {
            (Codec::Json, Message::Text(text)) => text.to_string(),
            (Codec::MessagePack, Message::Binary(packed)) => {
                let frames = self.codec.decode_server(packed).expect("frames");
                let json = frames.iter().map(|frame| {
                    let mut json = Vec::new();
                    Codec::Json.encode_server(frame, &mut json);
                    String::from_utf8(json).expect("JSON is UTF-8")
                });
                format!("[{}]", json.collect::<Vec<_>>().join(","))
            }
            (codec, message) => panic!("no frames of {codec:?}: {message:?}"),
        };
        match serde_json::from_str(&json).expect("JSON") {
            Value::Array(frames) => self.received.extend(frames),
            frame => self.received.push_back(frame),
        }
    }

    /// The next frame, which must be of this type.
    #[track_caller]
    pub fn expect(&mut self, kind_of_frame: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.receive().await;
            assert_eq!(frame["type"], kind_of_frame, "{caller}: {frame}");
            frame
        }
    }

    /// Sends a frame and gives its reply, by `id`; what comes before it is kept for later.
    pub async fn request(&mut self, frame: Value) -> Value {
        let id = frame["id"].clone();
        assert!(id.is_u64(), "a request has an id: {frame}");
        self.send(frame).await;
        let mut before = VecDeque::new();
        loop {
            let frame = self.receive().await;
            if frame["id"] == id {
                before.append(&mut self.received);
                self.received = before;
                return frame;
            }
            before.push_back(frame);
        }
    }

    /// Subscribes to a topic: the reply.
    pub async fn subscribe(&mut self, topic: &str) -> Value {
        let reply = self.request(json!({"type": "subscribe", "id": 1, "topic": topic})).await;
        assert_eq!(reply["type"], "subscribed", "{reply}");
        reply
    }

    /// Publishes to a topic: the ack.
    pub async fn publish(&mut self, topic: &str, data: Value) -> Value {
        let reply = self.request(json!({"type": "publish", "id": 1, "topic": topic, "data": data})).await;
        assert_eq!(reply["type"], "published", "{reply}");
        reply
    }

    /// The code with which the broker closes; frames before it are skipped.
    pub async fn closed(mut self) -> u16 {
        loop {
            if let Message::Close(close) = self.receive_message().await {
                return close.expect("a close code").code.into();
            }
        }
    }
}

/// The request for a WebSocket at that path, which names the codec where the path is the native one.
fn request(address: SocketAddr, path: &str, codec: Codec) -> Request {
    let mut request = format!("ws://{address}{path}").into_client_request().expect("an address");
    let subprotocol = codec.subprotocol().parse().expect("a header's value");
    if path.split('?').next() == Some("/ws") {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
    }
    request
}
