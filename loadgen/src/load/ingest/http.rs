//! Publishing by HTTP, on a connection that is kept alive; requests go out before the answers to those
//! before them are there, as far as the window allows.
//!
//! By hand, because any client would cost more here than the broker takes.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Flow;
use crate::wire::socket::Socket;

/// Largest answer taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;

/// Publishes on `stream` until it is time to end and all is answered.
pub(crate) async fn publish(flow: &mut Flow<'_>, mut stream: Socket) -> anyhow::Result<()> {
    let plan = &flow.worker.plan;
    let (mut out, mut answers) = (Vec::new(), Vec::with_capacity(ANSWER_BYTES_MAX));
    while !flow.is_done() {
        while flow.has_capacity() {
            let (topic, payload) = flow.next();
            write!(
                out,
                "POST /v1/topics/{}/messages HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n",
                plan.topics[topic as usize],
                plan.server.host,
                payload.len()
            )?;
            out.extend_from_slice(payload);
        }
        // A window of requests has room in the kernel, or the server reads them as it answers.
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        ensure!(stream.read_buf(&mut answers).await? > 0, "disconnected by the broker");
        let mut read = 0;
        while let Some((length, status)) = answer(&answers[read..])? {
            read += length;
            match status {
                200..=299 => flow.acknowledged(),
                status => flow.refused(&format!("refused with HTTP status {status}")),
            }
        }
        answers.drain(..read);
        ensure!(answers.len() < ANSWER_BYTES_MAX, "the server's answer is too long");
    }
    Ok(())
}

/// The length and the status of the answer at the start of `bytes`, once it is whole.
fn answer(bytes: &[u8]) -> anyhow::Result<Option<(usize, u16)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).context("the server does not speak HTTP")?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("the server's answer has no Content-Length")?;
    let body: usize = std::str::from_utf8(length.value)?.trim().parse().context("no Content-Length")?;
    let whole = head.saturating_add(body) <= bytes.len();
    Ok(whole.then_some((head + body, response.code.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_when_they_are_whole() {
        let first = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let both = [&first[..], b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"].concat();
        for cut in 0..first.len() {
            assert_eq!(answer(&both[..cut]).expect("so far so good"), None, "{cut} bytes");
        }
        assert_eq!(answer(&both).expect("HTTP"), Some((first.len(), 200)));
        assert_eq!(answer(&both[first.len()..]).expect("HTTP"), Some((both.len() - first.len(), 409)));
    }

    #[test]
    fn what_cannot_be_delimited_is_an_error() {
        for text in ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "SSH-2.0\r\n"] {
            assert!(answer(text.as_bytes()).is_err(), "{text}");
        }
    }
}
