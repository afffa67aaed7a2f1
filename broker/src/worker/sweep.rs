//! Deadlines and pings: a worker looks at all its connections now and then, a slice at a time.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use crate::connection::Connection;

/// How often a slice of the connections is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Longest time in which every connection is looked at once.
const PASS_MAX: Duration = Duration::from_secs(1);

/// Connections closed at a stop between two looks at the clock.
const DRAIN_STEPS: u32 = 100;

/// After the drain window a connection that does not close is dropped after so long.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Looks after deadlines and pings, for ever.
    pub(super) async fn sweeps(self: Rc<Self>) {
        let limits = &self.hub.config.limits;
        // Fine enough that a deadline is met within a quarter of itself.
        let pass = PASS_MAX.min(limits.ping_interval / 4).min(limits.message_timeout / 4);
        let tick = TICK.min(pass);
        let slices = (pass.as_micros() / tick.as_micros().max(1)).max(1) as usize;
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut slice: Vec<Rc<Connection>> = Vec::new();
        for nth in (0..slices).cycle() {
            ticks.tick().await;
            self.handle().heartbeat.beat();
            {
                let connections = self.connections.borrow();
                let count = connections.capacity().div_ceil(slices);
                let range = nth * count..(nth + 1) * count;
                slice.extend(range.filter_map(|key| connections.get(key).map(Rc::clone)));
            }
            let now = self.now_ms();
            for connection in slice.drain(..) {
                connection.sweep(now);
            }
        }
    }

    /// Closes every connection, in random order over the drain window, and waits until they are gone or
    /// the time is up.
    pub(super) async fn drain(self: &Rc<Self>) {
        use rand::seq::SliceRandom;
        let window = self.hub.config.server.drain_window;
        let mut connections: Vec<_> = self.connections.borrow().iter().map(|(_, c)| Rc::clone(c)).collect();
        connections.shuffle(&mut rand::rng());
        let per_step = connections.len().div_ceil(DRAIN_STEPS as usize).max(1);
        let mut nth = 0;
        for step in connections.chunks(per_step) {
            for connection in step {
                connection.close_after_delivery();
            }
            nth += per_step;
            if nth < connections.len() {
                tokio::time::sleep(window / DRAIN_STEPS).await;
            }
        }
        drop(connections);
        // Those whose handshake was under way have their connection by now; they go at once.
        let until = tokio::time::Instant::now() + DRAIN_GRACE;
        while tokio::time::Instant::now() < until {
            let left: Vec<_> = self.connections.borrow().iter().map(|(_, c)| Rc::clone(c)).collect();
            if left.is_empty() {
                break;
            }
            for connection in left {
                connection.close_after_delivery();
            }
            tokio::time::sleep(TICK).await;
        }
        let left: Vec<_> = self.connections.borrow().iter().map(|(_, c)| Rc::clone(c)).collect();
        for connection in left {
            connection.abandon();
        }
    }
}
