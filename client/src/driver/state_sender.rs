//! What the driver tells of the connection's state.

use tokio::sync::watch;

use super::options::OnState;
use crate::failure::Failure;
use crate::state::{CloseReason, ConnectionState};

/// What the client's handles are told of its state.
pub(crate) struct StateSender {
    states: watch::Sender<ConnectionState>,
    callback: Option<OnState>,
}

impl StateSender {
    pub(crate) fn new(states: watch::Sender<ConnectionState>, callback: Option<OnState>) -> Self {
        Self { states, callback }
    }

    pub(crate) fn send(&self, state: ConnectionState) {
        if let Some(callback) = &self.callback {
            callback(&state);
        }
        self.states.send_replace(state);
    }

    pub(crate) fn last_failure(&self) -> Option<Failure> {
        self.states.borrow().last_failure()
    }
}

/// However the driver ends, also with the runtime it ran in: a client that nobody drives is not connected.
impl Drop for StateSender {
    fn drop(&mut self) {
        let is_closed = matches!(*self.states.borrow(), ConnectionState::Closed(_));
        if !is_closed {
            // Not to the callback: it may be what panics.
            self.states.send_replace(ConnectionState::Closed(CloseReason::Stopped));
        }
    }
}
