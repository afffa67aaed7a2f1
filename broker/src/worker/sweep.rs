//! Deadlines and pings: a worker looks at all its connections now and then, a slice at a time.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use super::balance::Balance;
use crate::clock::Uptime;
use crate::connection::Connection;
use crate::workers::busy::Meter;

/// How often a slice of the connections is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Longest time in which every connection is looked at once.
const PASS_MAX: Duration = Duration::from_secs(1);

/// How often a worker looks whether the others have more or less to do.
const BALANCE: Duration = Duration::from_millis(250);
/// A worker that did not run for so long does not judge anybody by that time.
const HOLE_MIN: Duration = Duration::from_secs(1);
/// A connection whose socket has taken nothing for so long is stuck: what it wants is not kept for it any more
/// than for anybody.
const STUCK_AFTER: Duration = Duration::from_millis(500);
/// Whoever holds less than this of what is on its way is not closed for want of memory.
const HELD_MIN: usize = 64 * 1024;

/// Connections closed at a stop between two looks at the clock.
const DRAIN_STEPS: u32 = 100;

/// After the drain window a connection that does not close is dropped after so long.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Whoever waited for an answer until then is closed, and has so long to take that.
const LAST_WORD: Duration = Duration::from_millis(100);

impl Worker {
    /// Looks after deadlines and pings, for ever.
    pub(super) async fn sweeps(self: Rc<Self>) {
        let limits = self.hub.config().limits.clone();
        // Fine enough that a deadline is met within a quarter of itself.
        let pass = PASS_MAX.min(limits.ping_interval / 4).min(limits.message_timeout / 4);
        let tick = TICK.min(pass);
        let slices = (pass.as_micros() / tick.as_micros().max(1)).max(1) as usize;
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut slice: Vec<Rc<Connection>> = Vec::new();
        let mut before = self.now_ms();
        let (mut meter, mut balance, mut was_crowded) = (Meter::new(), Balance::default(), false);
        for nth in (0..slices).cycle() {
            ticks.tick().await;
            if nth == 0 {
                self.replay.borrow_mut().tend();
                self.runs.borrow_mut().tend();
            }
            self.handle().heartbeat.beat();
            self.handle().heat.tick(Uptime::now());
            let (share, had) = meter.measure();
            let shares = self.hub.config().server.testing.shares;
            self.handle().busy.set(shares.map_or(share, |shares| (shares.0)(self.index)));
            self.stats.busy(had);
            let uptime = Uptime::now();
            let now = uptime.as_ms() as u32;
            let late = now.wrapping_sub(before).saturating_sub(tick.as_millis() as u32);
            before = now;
            if u128::from(late) >= HOLE_MIN.min(limits.ping_interval / 2).as_millis() {
                // This thread did not run: nobody could be heard meanwhile.
                for connection in self.all_connections() {
                    connection.sweep(uptime, true);
                }
                continue;
            }
            {
                let connections = self.connections.borrow();
                let count = connections.capacity().div_ceil(slices);
                let range = nth * count..(nth + 1) * count;
                slice.extend(range.filter_map(|key| connections.get(key).map(Rc::clone)));
            }
            for connection in slice.drain(..) {
                connection.sweep(uptime, false);
            }
            self.handle().inbox.expire(Instant::now());
            if nth + 1 == slices {
                self.stats.blocked_max(self.blocked_max_ms.take());
                self.slowest.borrow_mut().end_pass();
            }
            self.relieve(&mut was_crowded);
            self.look_at_blocked(now);
            let ticks_per_look = (BALANCE.as_micros() / tick.as_micros().max(1)).max(1) as usize;
            if nth % ticks_per_look == 0 {
                self.balance(&mut balance);
            }
        }
    }

    /// Finds out who is stuck, among those whose sockets take no more.
    fn look_at_blocked(&self, now: u32) {
        let waiting = self.blocked.borrow().len();
        for _ in 0..waiting {
            let Some(watched) = self.blocked.borrow_mut().pop_front() else { break };
            if watched.upgrade().is_some_and(|connection| connection.is_to_watch(now, STUCK_AFTER)) {
                self.blocked.borrow_mut().push_back(watched);
            }
        }
        self.blocked.borrow_mut().shrink_to(2 * waiting + 16);
    }

    /// Where nearly as much is on its way as there may be, gives back what is kept for those who catch up, and gives up HTTP
    /// answers that are read slowly; where it is more, closes those of this worker who hold most.
    fn relieve(&self, was_crowded: &mut bool) {
        let budget = self.hub.in_flight(false);
        if budget.crowded() == 0 {
            *was_crowded = false;
            return;
        }
        self.replay.borrow_mut().clear();
        self.runs.borrow_mut().clear();
        // Only what is left when every worker has done so is somebody's.
        let crowded = budget.crowded();
        if !std::mem::replace(was_crowded, crowded > 0) || crowded == 0 {
            return;
        }
        let freed = self.hub.answers.give_up(crowded, Instant::now());
        let mut over = budget.over().saturating_sub(freed);
        if over == 0 {
            return;
        }
        let mut holders: Vec<_> = {
            let connections = self.connections.borrow();
            let holders = connections.iter().map(|(_, connection)| connection);
            holders.filter(|connection| connection.held_bytes() >= HELD_MIN).map(Rc::clone).collect()
        };
        holders.sort_by_key(|connection| std::cmp::Reverse(connection.held_bytes()));
        // What is closed is charged no longer when its task has run; as much as is over goes at once.
        for connection in holders {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(connection.held_bytes());
            connection.close_short_of_memory();
        }
    }

    /// Closes every connection, in random order over the drain window, and waits until they are gone or
    /// the time is up.
    pub(super) async fn drain(self: &Rc<Self>) {
        use rand::seq::SliceRandom;
        let window = self.hub.config().server.drain_window;
        let mut connections = self.all_connections();
        connections.shuffle(&mut rand::rng());
        let per_step = connections.len().div_ceil(DRAIN_STEPS as usize).max(1);
        let mut nth = 0;
        for step in connections.chunks(per_step) {
            for connection in step {
                connection.restart();
            }
            nth += per_step;
            if nth < connections.len() {
                tokio::time::sleep(window / DRAIN_STEPS).await;
            }
        }
        drop(connections);
        // Those whose handshake was under way have their connection by now; they go at once.
        let until = Instant::now() + DRAIN_GRACE;
        self.close_to_moves();
        while Instant::now() < until {
            let left = self.all_connections();
            if left.is_empty() {
                break;
            }
            for connection in left {
                connection.restart();
            }
            tokio::time::sleep(TICK).await;
        }
        let left = self.all_connections();
        if !left.is_empty() {
            for connection in left {
                connection.restart_now();
            }
            tokio::time::sleep(LAST_WORD).await;
        }
        let left = self.all_connections();
        for connection in left {
            connection.abandon();
        }
    }
}
