//! A socket whose peer must take what it asked for, and gets the time for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::relief::Relief;
use crate::stream::Stream;

/// The time after the last answer for which a peer is still read from, ...
const LINGER_MAX: Duration = Duration::from_secs(3);
/// ... and the bytes that are read of it at most, which are thrown away.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// A socket on which writing fails when the peer has taken nothing for so long.
///
/// Without it whoever asks for large answers and never reads them makes the broker keep them for ever.
///
/// Shut down soon after an answer it goes on reading for a while: a socket that is closed with something
/// unread in it is reset, and a reset destroys the answer in the hands of a peer that is still writing its
/// request.
#[derive(Debug)]
pub(super) struct WriteTimeout {
    stream: Stream,
    /// What was read of the socket before, and comes first.
    read: Bytes,
    /// The time for which the peer may take nothing.
    timeout: Duration,
    /// Whether what the peer has not read is needed for others.
    relief: Arc<Relief>,
    /// The moment by which the peer must take something, while it takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The moment when something was last written.
    answered_at: Option<Instant>,
    lingering: Option<Lingering>,
}

/// The writing side is shut down already.
#[derive(Debug)]
struct Lingering {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl WriteTimeout {
    pub(super) fn new(stream: Stream, timeout: Duration, relief: Arc<Relief>) -> Self {
        Self {
            stream,
            read: Bytes::new(),
            timeout,
            relief,
            waiting: None,
            answered_at: None,
            lingering: None,
        }
    }

    /// The same, of which these bytes were read already: they are read once more.
    pub(super) fn reading_first(self, read: Bytes) -> Self {
        Self { read, ..self }
    }

    /// The socket, and what is to be read before it.
    pub(super) fn into_inner(self) -> (Stream, Bytes) {
        (self.stream, self.read)
    }

    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.relief.is_given_up(cx.waker()) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the broker is short of memory",
            )));
        }
        if let Poll::Ready(result) = write(Pin::new(&mut self.stream), cx) {
            self.waiting = None;
            self.answered_at = Some(Instant::now());
            return Poll::Ready(result);
        }
        let timeout = self.timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answer")))
    }
}

impl WriteTimeout {
    /// The same for what has yet to leave of what was written, which may be something where the socket is secured. It is no
    /// answer that is written.
    fn wait(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if !self.stream.is_secured() {
            return act(Pin::new(&mut self.stream), cx);
        }
        let answered_at = self.answered_at;
        let done = self.write(cx, act);
        self.answered_at = answered_at;
        done
    }
}

impl Lingering {
    /// Reads until the peer has closed its side too, or has had its time.
    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 8 * 1024];
        while self.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            if ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)).is_err() {
                break;
            }
            let count = buf.filled().len();
            self.bytes_left = self.bytes_left.saturating_sub(count);
            if count == 0 || self.bytes_left == 0 {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(this.wait(cx, |stream, cx| stream.poll_shutdown(cx)))?;
        }
        let Some(answered_at) = this.answered_at else { return Poll::Ready(Ok(())) };
        let lingering = this.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(tokio::time::sleep_until(answered_at + LINGER_MAX)),
            bytes_left: LINGER_BYTES_MAX,
        });
        lingering.poll(&mut this.stream, cx).map(Ok)
    }
}
