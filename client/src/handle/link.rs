//! The way from the handles to the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::channel::{Backlog, Command, Departures, Reply};
use crate::error::Error;
use crate::state::{CloseReason, ConnectionState};

/// What clients and subscriptions share. While there is one of them, the driver runs.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) departures: Arc<Departures>,
    pub(crate) state: watch::Receiver<ConnectionState>,
    pub(crate) request_timeout: Duration,
    pub(crate) backlog: Arc<Backlog>,
    /// Tells the driver to end at once.
    pub(crate) closing: Arc<Notify>,
    /// Whether the client was told to take nothing more.
    pub(crate) draining: AtomicBool,
}

impl Link {
    /// Sends a command and waits for its answer, as long as the request timeout allows.
    pub(crate) async fn request<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = Reply::new();
        let exchange = async {
            self.commands.send(command(reply)).await.map_err(|_| self.closed())?;
            answer.await.unwrap_or_else(|_| Err(self.closed()))
        };
        match timeout(self.request_timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.timeout(self.request_timeout).of_fate(true)),
        }
    }

    /// The error of whoever comes too late.
    pub(crate) fn closed(&self) -> Error {
        match &*self.state.borrow() {
            ConnectionState::Closed(reason) => Error::closed(reason.clone()),
            _ if self.draining.load(Ordering::Relaxed) => Error::closed(CloseReason::Drained),
            _ => Error::closed(CloseReason::Stopped),
        }
    }

    pub(crate) fn timeout(&self, after: Duration) -> Error {
        let last_failure = self.state.borrow().last_failure();
        Error::Timeout { after, last_failure, may_have_happened: false }
    }
}
