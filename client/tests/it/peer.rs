//! A broker that follows a script: it reads and writes plain JSON values, and knows nothing of the client's
//! own codec.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, SystemTime};

use fanfare_client::{Client, CloseReason, Codec, ConnectOptions, Error};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Waits for what must happen, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("it happens soon")
}

/// Why the client is closed, if that is the error.
pub(crate) fn close_reason(error: &Error) -> Option<&CloseReason> {
    match error {
        Error::Closed { reason, .. } => Some(reason),
        _ => None,
    }
}

pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.0.local_addr().expect("bound"))
    }

    /// A client's options that come back at once.
    pub(crate) fn client(&self) -> ConnectOptions {
        Client::builder(&self.url()).backoff(Duration::from_millis(1), Duration::from_millis(5))
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        soon(self.0.accept()).await.expect("a connection").0
    }

    /// The next connection, up to the WebSocket handshake.
    pub(crate) async fn accept(&self) -> Peer {
        Peer::handshake(self.accept_tcp().await).await
    }

    /// The next connection, up to `connected`.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome().await;
        peer
    }

    /// A client and the broker's end of its connection.
    pub(crate) async fn connected(&self, options: ConnectOptions) -> (Client, Peer) {
        let (client, peer) = tokio::join!(soon(options.connect()), self.welcome());
        (client.expect("connected"), peer)
    }
}

/// The broker's end of a connection.
pub(crate) struct Peer<S = TcpStream> {
    socket: WebSocketStream<S>,
    codec: Codec,
    /// What the handshake bore.
    pub(crate) request_headers: HeaderMap,
    /// Frames of a message that held several.
    frames: VecDeque<Value>,
    /// How many messages were read.
    pub(crate) message_count: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn handshake(stream: S) -> Self {
        Self::handshake_at(stream, None).await
    }

    /// As [`handshake`](Self::handshake), by a broker whose clock says `date`.
    pub(crate) async fn handshake_at(stream: S, date: Option<SystemTime>) -> Self {
        let (mut codec, mut request_headers) = (Codec::Json, HeaderMap::new());
        #[expect(clippy::result_large_err, reason = "the callback's type is not ours")]
        let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().path(), "/ws");
            let asked = request.headers().get("sec-websocket-protocol").expect("a subprotocol").clone();
            codec = Codec::from_subprotocol(asked.to_str().expect("text")).expect("a known subprotocol");
            response.headers_mut().insert("sec-websocket-protocol", asked);
            request_headers = request.headers().clone();
            if let Some(date) = date {
                let date = httpdate::fmt_http_date(date);
                response.headers_mut().insert("date", date.parse().expect("a header"));
            }
            Ok(response)
        };
        let socket = soon(tokio_tungstenite::accept_hdr_async(stream, choose)).await.expect("a handshake");
        Self { socket, codec, request_headers, frames: VecDeque::new(), message_count: 0 }
    }

    /// Answers `connect`, and returns it.
    pub(crate) async fn welcome(&mut self) -> Value {
        let connect = self.expect("connect").await;
        self.connected(&connect).await;
        connect
    }

    pub(crate) async fn connected(&mut self, connect: &Value) {
        self.say(json!({"type": "connected", "id": connect["id"], "connection": "c1", "user": null,
            "server": "script/1", "ping_interval_ms": 25_000}))
            .await;
    }

    /// The next frame; `None` when the client is gone.
    pub(crate) async fn frame(&mut self) -> Option<Value> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let value: Value = match soon(self.socket.next()).await?.ok()? {
                Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
                Message::Binary(bytes) => rmp_serde::from_slice(&bytes).expect("MessagePack"),
                Message::Close(_) => return None,
                _ => continue,
            };
            self.message_count += 1;
            match value {
                Value::Array(frames) => self.frames.extend(frames),
                frame => self.frames.push_back(frame),
            }
        }
    }

    /// The next frame, which is of that type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame().await.unwrap_or_else(|| panic!("expected {kind}, the client is gone"));
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// As [`expect`](Self::expect), where time is paused and may pass meanwhile.
    pub(crate) async fn expect_at_leisure(&mut self, kind: &str) -> Value {
        let message = self.socket.next().await.expect("the client is there").expect("a message");
        let frame: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        let message = match self.codec {
            Codec::Json => Message::text(frame.to_string()),
            Codec::MessagePack => Message::binary(rmp_serde::to_vec_named(&frame).expect("MessagePack")),
        };
        soon(self.socket.send(message)).await.expect("sent");
    }

    /// Expects a `subscribe` and answers it with `head` as the newest offset; `extra` is added to the answer.
    pub(crate) async fn subscribed(&mut self, head: u64, extra: Value) -> Value {
        let subscribe = self.expect("subscribe").await;
        let mut answer = json!({"type": "subscribed", "id": subscribe["id"], "topic": subscribe["topic"],
            "epoch": "e1", "offset": head});
        let extra = extra.as_object().expect("an object").clone();
        answer.as_object_mut().expect("an object").extend(extra);
        self.say(answer).await;
        subscribe
    }

    /// Expects a `publish` and acknowledges it at `offset`.
    pub(crate) async fn published(&mut self, offset: u64) -> Value {
        let publish = self.expect("publish").await;
        self.say(json!({"type": "published", "id": publish["id"], "topic": publish["topic"],
            "epoch": "e1", "offset": offset, "duplicate": false}))
            .await;
        publish
    }

    /// Delivers a publication whose payload is its offset.
    pub(crate) async fn deliver(&mut self, topic: &str, offset: u64) {
        self.say(message(topic, offset)).await;
    }

    pub(crate) async fn refuse(&mut self, request: &Value, code: &str, retryable: bool) {
        self.say(json!({"type": "error", "id": request["id"], "topic": request["topic"], "code": code,
            "message": "the script says no", "retryable": retryable}))
            .await;
    }

    /// Says a text in one frame, byte by byte over that time.
    pub(crate) async fn trickle(&mut self, text: &str, over: Duration) {
        let stream = self.socket.get_mut();
        let head =
            [&[0x81, 126][..], &u16::try_from(text.len()).expect("a short text").to_be_bytes()].concat();
        stream.write_all(&head).await.expect("sent");
        for byte in text.as_bytes() {
            stream.write_all(&[*byte]).await.expect("sent");
            stream.flush().await.expect("sent");
            tokio::time::sleep(over / text.len() as u32).await;
        }
    }

    /// Closes with a code, and waits until the client has answered.
    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "the script says so".into() };
        soon(self.socket.close(Some(frame))).await.expect("sent");
        soon(async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }

    /// Waits until the client has closed; returns the code.
    pub(crate) async fn closed(mut self) -> Option<u16> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    }
}

pub(crate) fn message(topic: &str, offset: u64) -> Value {
    json!({"type": "message", "topic": topic, "offset": offset, "time": 1_763_740_800_000_u64, "data": offset})
}

pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(now.as_millis()).expect("64 bits are enough for now")
}
