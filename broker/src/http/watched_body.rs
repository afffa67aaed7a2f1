//! Whether a request's body was read to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body that tells when it has come to its end. A connection whose last body has an unread rest cannot
/// serve another request, which the answer must say before.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: Incoming,
    is_whole: Arc<AtomicBool>,
}

impl WatchedBody {
    /// The body, and what is true once there is nothing left of it to read.
    pub(super) fn new(body: Incoming) -> (Self, Arc<AtomicBool>) {
        let is_whole = Arc::new(AtomicBool::new(body.is_end_stream()));
        (Self { body, is_whole: Arc::clone(&is_whole) }, is_whole)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.is_whole.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
