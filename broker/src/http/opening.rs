//! The beginning of a connection: what its peer says first.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stream::Stream;

/// Bytes that are read at first, as many as hyper reads at first: so what is handed to it comes to it in one piece.
pub(super) const FIRST_BYTES: usize = 8 * 1024;

/// A connection of which little was read.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) stream: Stream,
    /// The moment from which its first request is waited for.
    pub(super) since: Instant,
    /// What was read.
    pub(super) read: Bytes,
}

impl Opening {
    /// A connection whose first request is waited for since then.
    pub(super) fn new(stream: Stream, since: Instant) -> Self {
        Self { stream, since, read: Bytes::new() }
    }

    /// Reads once, into that buffer of [`FIRST_BYTES`], when there is something to be read and it is the connection's
    /// turn. It reads nothing where nothing comes within that time, the peer has gone, or `stop` is cancelled before.
    pub(super) async fn read(
        &mut self,
        timeout: Duration,
        stop: &CancellationToken,
        poll_turn: impl Fn(&Context<'_>) -> Poll<()>,
        with_buffer: impl Fn(&mut dyn FnMut(&mut [u8])),
    ) {
        let Self { stream, since, read } = self;
        let reading = poll_fn(|cx| {
            // Whoever only waits takes no turn from those who have something to say.
            if ready!(stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            ready!(poll_turn(cx));
            let mut polled = Poll::Pending;
            with_buffer(&mut |buffer| {
                let mut buffer = ReadBuf::new(buffer);
                polled = Pin::new(&mut *stream).poll_read(cx, &mut buffer).map(drop);
                *read = Bytes::copy_from_slice(buffer.filled());
            });
            polled
        });
        let in_time = tokio::time::timeout_at(*since + timeout, reading);
        // Whatever comes of it stands in what was read.
        let _ = stop.run_until_cancelled(in_time).await;
    }
}
