//! The HTTP request that turns a connection into a WebSocket.
//!
//! By hand, because what the server sends right after its answer must not stay in somebody's buffer.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// Largest answer taken, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// What is asked of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// The `Host`, with its port where the URL has one.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) subprotocol: Option<&'static str>,
}

impl Upgrade {
    /// Makes `stream` a WebSocket; returns what the server has sent after its answer.
    pub(crate) async fn perform(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> anyhow::Result<Vec<u8>> {
        let key = generate_key();
        stream.write_all(self.request(&key).as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::with_capacity(512);
        loop {
            ensure!(answer.len() <= ANSWER_BYTES_MAX, "the server's answer is too long for HTTP");
            if stream.read_buf(&mut answer).await? == 0 {
                bail!("the server closed the connection instead of answering the WebSocket request");
            }
            if let Some(length) = self.check(&answer, &key)? {
                return Ok(answer.split_off(length));
            }
        }
    }

    fn request(&self, key: &str) -> String {
        let Self { host, path, subprotocol } = self;
        let subprotocol =
            subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{subprotocol}\r\n"
        )
    }

    /// How long the answer is, once it is whole.
    fn check(&self, answer: &[u8], key: &str) -> anyhow::Result<Option<usize>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(answer).context("the server does not speak HTTP")?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let status = response.code.unwrap_or_default();
        if status != 101 {
            let body = String::from_utf8_lossy(&answer[length..]);
            bail!("the server answered {status} to GET {}: {}", self.path, body.trim());
        }
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let accepted = header("Sec-WebSocket-Accept") == Some(&derive_accept_key(key.as_bytes()));
        ensure!(accepted, "the server's Sec-WebSocket-Accept does not fit the key");
        let subprotocol = header("Sec-WebSocket-Protocol");
        ensure!(
            subprotocol == self.subprotocol,
            "asked for the subprotocol {:?}, the server chose {subprotocol:?}",
            self.subprotocol
        );
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

    fn upgrade(subprotocol: Option<&'static str>) -> Upgrade {
        Upgrade { host: "localhost:8000".into(), path: "/ws".into(), subprotocol }
    }

    #[test]
    fn an_answer_that_fits_is_taken_when_it_is_whole() {
        let upgrade = upgrade(Some("chat"));
        for cut in 0..ANSWER.len() {
            assert_eq!(upgrade.check(&ANSWER.as_bytes()[..cut], KEY).expect("so far so good"), None);
        }
        let with_more = format!("{ANSWER}frames");
        assert_eq!(upgrade.check(with_more.as_bytes(), KEY).expect("fits"), Some(ANSWER.len()));
    }

    #[test]
    fn an_answer_that_does_not_fit_says_why() {
        for (answer, why) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\norigin refused\n", "answered 403 to GET /ws: origin refused"),
            (&ANSWER.replace("s3pP", "xxxx"), "Sec-WebSocket-Accept"),
            (&ANSWER.replace("chat", "soup"), "the server chose Some(\"soup\")"),
            ("SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        ] {
            let error = upgrade(Some("chat")).check(answer.as_bytes(), KEY).expect_err(why);
            assert!(format!("{error:#}").contains(why), "{error:#} should say {why}");
        }
        let error = upgrade(None).check(ANSWER.as_bytes(), KEY).expect_err("not asked for");
        assert!(error.to_string().contains("None"), "{error}");
    }
}
