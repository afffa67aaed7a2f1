//! One turn of a conversation: what the broker says goes to the session, and what the session says to the broker.

use std::future::poll_fn;
use std::task::Poll;

use crate::channel::Backpressure;
use crate::session::{Session, Sizes};
use crate::transport::{Lost, Wire};

/// Gives the session what is heard, if it `may_read`, and writes what it has to say. Returns when either has
/// happened, early where readers feel `backpressure`.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
pub(crate) async fn exchange(
    wire: &mut Wire,
    session: &mut Session,
    sizes: Sizes,
    backpressure: &Backpressure,
    may_read: bool,
) -> Result<(), Lost> {
    poll_fn(|cx| {
        // Reading comes first: a broker that closes says why, and what is written then fails.
        let heard =
            may_read && wire.poll_read(cx, |frame| session.receive(frame), || backpressure.is_felt())?;
        let said = wire.poll_write(cx, |codec| session.pack(codec, sizes))?;
        if heard || said { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
