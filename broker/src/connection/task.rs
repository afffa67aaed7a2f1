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
    /// `None` where it has moved.
    connection: Option<Rc<Connection>>,
    /// Dropped after the connection, whose socket is closed by then. `None` where it has moved with it.
    /// Apart, or the task would take twice as much memory.
    permit: Option<Box<Permit>>,
}

impl ConnectionTask {
    pub(super) fn new(connection: Rc<Connection>, permit: Permit) -> Self {
        Self { connection: Some(connection), permit: Some(Box::new(permit)) }
    }

    /// Moves the connection to where it is to go, if it can go now; says whether it did. Where the other worker takes no more
    /// it goes on here, as a new one.
    fn depart(&mut self) -> bool {
        let Some(to) = self.connection.as_ref().and_then(Connection::departs_to) else { return false };
        let Some(subscriptions) = self.connection.as_ref().map(|here| here.take_subscriptions()) else {
            return false;
        };
        let (Some(connection), Some(permit)) = (self.connection.take(), self.permit.take()) else {
            return false;
        };
        let worker = Rc::clone(&connection.worker);
        let moved = connection.take_apart(subscriptions, *permit).and_then(|moving| {
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

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.depart();
        while let Some(connection) = &self.connection {
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
        let Some(connection) = self.connection.take() else { return };
        let worker = &connection.worker;
        connection.end_subscriptions();
        worker.remove(&connection);
        worker.stats.queued(-i64::from(connection.reported_queue.take()));
        connection.leave_lane();
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
    }
}
