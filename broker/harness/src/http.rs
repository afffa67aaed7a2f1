//! HTTP, as bytes.

use std::net::SocketAddr;

use serde_json::Value;

use crate::raw::RawSocket;

/// One HTTP request on a connection of its own. `headers` are whole lines without their ends.
pub async fn http(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Response {
    let mut socket = RawSocket::connect(address).await;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    socket.send(&[head.as_bytes(), b"\r\n", body].concat()).await;
    socket.response().await
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub struct Response {
    /// The status of the first line.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, which is text.
    pub body: String,
}

impl Response {
    /// The value of the header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn parse(head: &str, body: String) -> Self {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {head:?}")),
            headers: headers.map(|(key, value)| (key.to_lowercase(), value.trim().to_owned())).collect(),
            body,
        }
    }
}
