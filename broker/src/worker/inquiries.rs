//! What an operator has the worker look at or do, among its connections.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::connection::Connection;
use crate::ids::ConnectionId;
use crate::inbox::{Host, Visited};
use crate::topic::Topic;
use crate::topic::ring::Cursor;

/// The time after which the worker goes on with its other tasks, though some of the slowest are left.
const CYCLE_MAX: Duration = Duration::from_micros(500);

impl Host for Worker {
    fn visit(&self, key: u32, id: ConnectionId, look: &mut dyn FnMut(&dyn Visited)) {
        let connection = self.connections.borrow().get(key as usize).map(Rc::clone);
        if let Some(connection) = connection.filter(|connection| connection.id == id) {
            self.guarded(&connection, |connection| look(&**connection));
        }
    }

    fn blocked(&self, most: usize, look: &mut dyn FnMut(&dyn Visited)) {
        let slowest = self.slowest.borrow().first(most);
        let began = Instant::now();
        for (key, id) in slowest {
            self.visit(key, id, look);
            if began.elapsed() > CYCLE_MAX {
                // One that is behind in much takes long to look at: each of its topics is locked for it.
                break;
            }
        }
    }
}

impl Worker {
    /// What a subscription in step has yet to get.
    pub(crate) fn cursor(&self, connection: &Connection, topic: &Topic, slot: usize) -> Option<Cursor> {
        let topics = self.topics.borrow();
        let local = topics.get(&(std::ptr::from_ref(topic) as usize))?;
        local.groups[connection.encoding as usize].members.get(slot).map(|member| member.from)
    }
}
