//! The task of a connection, and its end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Connection;
use crate::permit::Permit;

/// A connection's life on one worker: ready when it is closed, or has moved to another. However it ends, also by a panic,
/// nothing of the connection stays behind.
///
/// It holds nothing but the connection and its permit, so an idle one costs no more than itself.
#[derive(Debug)]
pub(crate) struct ConnectionTask {
    /// `None` where it has moved. The permit is apart, or the task would take twice as much memory.
    here: Option<(Rc<Connection>, Box<Permit>)>,
}

impl ConnectionTask {
    pub(super) fn new(connection: Rc<Connection>, permit: Box<Permit>) -> Self {
        Self { here: Some((connection, permit)) }
    }

    /// Moves the connection to where it is to go, if it can go now; says whether it did. Where the other worker takes no more
    /// it goes on here, as a new one.
    fn depart(&mut self) -> bool {
        let Some((connection, _)) = &self.here else { return false };
        let Some(to) = connection.departs_to() else { return false };
        // While it is here still: a panic on the way ends it like any other.
        let subscriptions = connection.take_subscriptions();
        let Some((connection, permit)) = self.here.take() else { return false };
        let worker = Rc::clone(&connection.worker);
        let moved = connection.take_apart(subscriptions, permit).and_then(|moving| {
            match worker.hand_on(to, moving) {
                Ok(()) => Ok(()),
                Err(back) => Connection::arrive(&worker, *back).map(|task| *self = task),
            }
        });
        if let Err(error) = moved {
            tracing::debug!(%error, "a socket failed while its connection moved");
        }
        true
    }
}

impl Connection {
    /// Is no longer one of its worker's, as its subscriptions are not any more: at its end, or because it moves.
    pub(super) fn leave_worker(&self) {
        self.leave_lane();
        self.worker.remove(self);
        self.worker.stats.queued(-i64::from(self.reported_queue.take()));
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.depart();
        while let Some((connection, _)) = &self.here {
            let is_gone = connection.poll(cx, false).is_ready();
            // What it has just asked for may be why it moves.
            if is_gone || !self.depart() {
                return if is_gone { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        Poll::Ready(())
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let Some((connection, permit)) = self.here.take() else { return };
        let worker = &connection.worker;
        connection.end_subscriptions();
        connection.leave_worker();
        worker.hub.directory.remove(connection.id);
        connection.account.close(|of| worker.hub.in_flight(of));
        {
            let mut state = connection.state.borrow_mut();
            connection.forget_answers(&mut state);
            state.life.end();
            worker.metrics.closed(state.life.reason());
        }
        if std::thread::panicking() {
            worker.hub.panics.count("connection");
        }
        // Its socket is closed before another may have its place.
        drop(connection);
        drop(permit);
    }
}
