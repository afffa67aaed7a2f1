//! A peer that may send anything.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::soon;
use crate::http::Response;
use crate::tls;

/// A TCP connection on which anything may be sent.
#[derive(Debug)]
pub struct RawSocket {
    /// The connection. What the methods have read ahead is not in it any more.
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl RawSocket {
    /// A connection on which nothing was sent.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: tls::connect(address, None).await, received: Vec::new() }
    }

    /// A connection whose kernel keeps little of what is not read.
    pub async fn connect_with_little_buffer(address: SocketAddr) -> Self {
        Self { stream: tls::connect(address, Some(4096)).await, received: Vec::new() }
    }

    /// A WebSocket connection to that path, which is open.
    pub async fn upgrade(address: SocketAddr, path: &str) -> Self {
        Self::upgrade_with(address, path, &[]).await
    }

    /// A WebSocket connection to that path, asked for with changed headers: see [`handshake`].
    pub async fn upgrade_with(address: SocketAddr, path: &str, changes: &[(&str, Option<&str>)]) -> Self {
        let mut socket = Self::connect(address).await;
        socket.upgrade_as(&handshake(address, path, changes)).await;
        socket
    }

    /// A WebSocket connection to that path whose kernel keeps little of what is not read.
    pub async fn upgrade_with_little_buffer(address: SocketAddr, path: &str) -> Self {
        let mut socket = Self::connect_with_little_buffer(address).await;
        socket.upgrade_as(&handshake(address, path, &[])).await;
        socket
    }

    async fn upgrade_as(&mut self, handshake: &str) {
        self.send(handshake.as_bytes()).await;
        let head = self.response_head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key is answered: {head}");
    }

    /// Sends all of it; a peer that has hung up already is for the test's next step to find.
    pub async fn send(&mut self, bytes: &[u8]) {
        soon("room to send", self.stream.write_all(bytes)).await.ok();
    }

    /// Sends and goes on reading meanwhile, so that neither side can be stuck: how the connection ended.
    pub async fn send_until_end(mut self, bytes: &[u8]) -> End {
        let (mut reader, mut writer) = self.stream.split();
        let received = &mut self.received;
        let read = async { while reader.read_buf(received).await.is_ok_and(|count| count > 0) {} };
        let write = async {
            writer.write_all(bytes).await.ok();
        };
        soon("the end", async { tokio::join!(read, write) }).await;
        self.end().await
    }

    /// The answer to an HTTP request; the body is what its length says, or all until the end. With a switch of protocols there
    /// is none.
    pub async fn response(&mut self) -> Response {
        let head = self.response_head().await;
        let mut response = Response::parse(&head, String::new());
        let length = match response.status {
            101 => Some(0),
            _ => response.header("content-length").and_then(|length| length.parse().ok()),
        };
        while length.is_none_or(|length| self.received.len() < length) && self.read().await {}
        let end = length.unwrap_or(self.received.len());
        response.body = String::from_utf8(self.received.drain(..end).collect()).expect("a body of text");
        response
    }

    /// The answer's head alone.
    pub async fn head(&mut self) -> Response {
        Response::parse(&self.response_head().await, String::new())
    }

    async fn response_head(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return String::from_utf8_lossy(&head[..end]).into_owned();
            }
            assert!(self.read().await, "ended within a head: {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// The first byte and the payload of the broker's next frame; `None` at the end of the stream.
    pub async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((start, length)) = server_frame(&self.received)
                && self.received.len() >= start + length
            {
                let frame: Vec<u8> = self.received.drain(..start + length).collect();
                return Some((frame[0], frame[start..].to_vec()));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The first bytes and payloads of the next so many messages, or fewer if the connection ends or nothing comes any
    /// more; pings are answered. Reads as fast as it can, and looks at nothing.
    pub async fn messages(&mut self, count: usize) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut taken = 0;
        loop {
            while let Some((start, length)) = server_frame(&self.received[taken..])
                && self.received.len() >= taken + start + length
            {
                let sent = &self.received[taken..taken + start + length];
                let (first, payload) = (sent[0], sent[start..].to_vec());
                taken += start + length;
                match first {
                    0x89 => self.send(&frame(0x8a, &payload)).await,
                    0x8a => {}
                    _ => messages.push((first, payload)),
                }
                if messages.len() == count || first == 0x88 {
                    self.received.drain(..taken);
                    return messages;
                }
            }
            self.received.drain(..taken);
            taken = 0;
            let read = tokio::time::timeout(QUIET, self.stream.read_buf(&mut self.received)).await;
            if !matches!(read, Ok(Ok(1..))) {
                return messages;
            }
        }
    }

    /// How the connection ends; frames before that are skipped.
    pub async fn end(mut self) -> End {
        while let Some((first, payload)) = self.receive().await {
            if first == 0x88 {
                let code = payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code));
                assert!(self.receive().await.is_none(), "nothing follows a close");
                return End::Closed(code);
            }
        }
        End::Dropped
    }

    /// Waits until the peer has hung up; what it says before is kept.
    pub async fn is_over(&mut self) {
        while self.read().await {}
    }

    /// Waits this long for the peer to hang up, and says whether it has.
    pub async fn is_over_after(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.is_over()).await.is_ok()
    }

    /// Takes in at most so many bytes more; false at the end.
    pub async fn trickle(&mut self, count: usize) -> bool {
        let mut bytes = vec![0; count];
        let read = soon("an answer or the end", self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.received.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// Reads something; false at the end.
    async fn read(&mut self) -> bool {
        let read = soon("an answer or the end", self.stream.read_buf(&mut self.received)).await;
        read.is_ok_and(|count| count > 0)
    }
}

/// After so long nothing comes any more, on a busy machine too.
const QUIET: Duration = Duration::from_secs(4);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end by a close frame of that code, and then that of the TCP stream.
    Closed(u16),
    /// Without one.
    Dropped,
}

/// The text of a WebSocket handshake. Each change replaces the header of that name, adds it, or with `None`
/// leaves it out.
pub fn handshake(address: SocketAddr, path: &str, changes: &[(&str, Option<&str>)]) -> String {
    let host = address.to_string();
    let mut headers = vec![
        ("Host", Some(host.as_str())),
        ("Upgrade", Some("websocket")),
        ("Connection", Some("Upgrade")),
        ("Sec-WebSocket-Version", Some("13")),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
    ];
    for change in changes {
        match headers.iter_mut().find(|header| header.0 == change.0) {
            Some(header) => header.1 = change.1,
            None => headers.push(*change),
        }
    }
    let lines = headers.iter().filter_map(|(name, value)| Some(format!("{name}: {}\r\n", (*value)?)));
    format!("GET {path} HTTP/1.1\r\n{}\r\n", lines.collect::<String>())
}

const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x13];

/// A WebSocket frame as a client sends it, masked; `first` holds the bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame that announces `length` bytes.
pub fn frame_header(first: u8, length: u64) -> Vec<u8> {
    let header = match length {
        0..=125 => vec![first, 0x80 | length as u8],
        126..=0xffff => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0x80 | 127][..], &length.to_be_bytes()].concat(),
    };
    [&header[..], &MASK].concat()
}

/// Where the payload of a server's frame begins, and how long it is, if that much is there.
fn server_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&second, rest) = bytes.get(1..)?.split_first()?;
    assert_eq!(second & 0x80, 0, "a server does not mask");
    Some(match second {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        length => (2, usize::from(length)),
    })
}
