//! What comes to a worker from other threads, taken in: so much of each kind, then others have their turn.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use super::walk::Walk;
use super::{Doors, Worker};
use crate::connection::Connection;
use crate::inbox::{Answered, Arrival};
use crate::operation::publish;

impl Worker {
    /// Takes in what comes, for ever; sockets are served by the `doors` until `stop` is cancelled.
    pub(super) async fn intake<D: Doors>(self: Rc<Self>, doors: Rc<D>, stop: CancellationToken) {
        let inbox = &self.handle().inbox;
        let mut arrivals = Vec::new();
        // One of each kind at most: no more are taken while one is under way.
        let mut walks = VecDeque::new();
        loop {
            inbox.news().await;
            loop {
                let has_more = inbox.take(!walks.is_empty(), &mut arrivals);
                for one in arrivals.drain(..) {
                    match one {
                        Arrival::Answer(answered) => self.hand_over(answered),
                        Arrival::Adopt(socket) => {
                            let served = doors.serve(Rc::clone(&self), socket, stop.clone());
                            self.tasks.spawn_local(served);
                        }
                        Arrival::Ask(count) => walks.push_back(Walk::to_count(count)),
                        Arrival::Revoke => walks.push_back(Walk::to_revoke()),
                        Arrival::Inquire(inquiry) => inquiry.answer(&*self),
                    }
                }
                if let Some(walk) = walks.pop_front()
                    && let Some(walk) = self.go_on(walk)
                {
                    walks.push_front(walk);
                }
                // Everybody else who has something to do has their turn, however much comes.
                tokio::task::yield_now().await;
                if !has_more && walks.is_empty() {
                    break;
                }
            }
        }
    }

    /// Hands an answer to the connection that waits for it, if it is still there; where it has gone it is counted alone.
    pub(super) fn hand_over(&self, Answered { asker: (key, id), ticket, outcome, .. }: Answered) {
        if let Some(asked) = self.unheard.take(ticket) {
            drop(publish::settled(&self.hub, asked, outcome));
            return;
        }
        let connection = self.connections.borrow().get(key).map(Rc::clone);
        if let Some(connection) = connection.filter(|connection| connection.id.get() == id) {
            self.guarded(&connection, |connection| connection.answered(ticket, outcome));
        }
    }

    /// Does something for a connection outside its own task: a panic must not cost anybody but its own peer.
    pub(super) fn guarded(&self, connection: &Rc<Connection>, act: impl FnOnce(&Rc<Connection>)) {
        if catch_unwind(AssertUnwindSafe(|| act(connection))).is_err() {
            self.hub.panics.count("connection");
            connection.abandon();
        }
    }
}
