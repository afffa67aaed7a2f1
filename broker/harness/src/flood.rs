//! Peers that never pause.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::raw::RawSocket;

/// Somebody who sends the same over and over, as fast as it is taken, and throws away what is answered. Dropped,
/// it hangs up.
#[derive(Debug)]
pub struct Flood {
    tasks: JoinSet<()>,
}

impl Flood {
    /// Sends these bytes on a WebSocket connection to that path.
    pub async fn start(address: SocketAddr, path: &str, bytes: Vec<u8>) -> Self {
        Self::on(RawSocket::upgrade(address, path).await.stream, bytes)
    }

    /// Sends these bytes on a connection that is there.
    pub fn on(stream: TcpStream, bytes: Vec<u8>) -> Self {
        let (mut reader, mut writer) = stream.into_split();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { while writer.write_all(&bytes).await.is_ok() {} });
        tasks.spawn(async move {
            let mut answers = vec![0; 64 * 1024];
            while reader.read(&mut answers).await.is_ok_and(|count| count > 0) {}
        });
        Self { tasks }
    }

    /// Posts that body, again when it is answered, on one connection that is kept.
    pub async fn post(address: SocketAddr, path: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        let mut socket = RawSocket::connect(address).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                socket.send(&request).await;
                let response = socket.response().await;
                assert_eq!(response.status, 200, "{}", response.body);
            }
        });
        Self { tasks }
    }

    /// Whether the broker still lets it.
    pub fn goes_on(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }
}
