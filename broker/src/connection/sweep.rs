//! Looking after a connection now and then: its deadlines, and whether its peer is still there.

use std::rc::Rc;
use std::time::Duration;

use fanfare_protocol::CloseCode;

use super::{Connection, UNREAD_REPLIES_MAX};
use crate::clock::Uptime;
use crate::websocket::Outgoing;

impl Connection {
    /// Looks after deadlines and pings. After a `hole` in the worker's own time nobody is judged by it.
    pub(crate) fn sweep(self: &Rc<Self>, now: Uptime, hole: bool) {
        let (uptime, now) = (now, now.as_ms() as u32);
        let limits = &self.worker.hub.config().limits;
        if let Some(ms) = self.backpressure.blocked_for(now) {
            self.worker.note_blocked(self, ms);
        }
        let mut state = self.state.borrow_mut();
        state.subscriptions.end_arrivals();
        if !state.life.is_open() {
            let has_had_its_time = state.life.has_had_its_time(now);
            drop(state);
            if has_had_its_time {
                self.abandon();
            }
            return;
        }
        drop(state);
        if self.look_at_tenure(uptime, hole) {
            return;
        }
        let mut state = self.state.borrow_mut();
        // While we do not read it is not the peer that is late.
        let takes_nothing = state.outbox.len() > UNREAD_REPLIES_MAX;
        let is_kept_waiting = self.standing.is_kept_waiting();
        let is_unread = is_kept_waiting || state.inbound.is_paused() || takes_nothing;
        if hole || is_kept_waiting {
            state.liveness.ask_anew(now);
        }
        if hole || is_unread {
            state.liveness.excuse(now);
        }
        let ms = |length: Duration| length.as_millis() as u32;
        let (is_silent, is_late) = (
            state.liveness.is_silent(now, ms(limits.ping_interval)),
            state.liveness.is_late(now, ms(limits.message_timeout)),
        );
        let is_ping_due = state.liveness.is_ping_due(now, ms(limits.ping_interval));
        let is_stuck = self.is_blocked() && state.subscriptions.behind() > 0;
        drop(state);
        // Whoever takes nothing is silent, whatever it has sent: what lies in its socket may have lain there before.
        if (is_late || (is_silent && !self.is_blocked())) && self.stream.has_unread_input() {
            // It has spoken; it was not heard yet.
            self.wake();
        } else if is_silent {
            self.close(CloseCode::TIMEOUT, "nothing was heard for two ping intervals");
        } else if is_late {
            self.close(CloseCode::TIMEOUT, "a message was not whole in time");
        } else if let Some(topic) = is_stuck.then(|| self.lost_topic()).flatten() {
            self.close_too_slow(&topic);
        } else if is_ping_due {
            self.ping(now);
        }
    }

    fn ping(self: &Rc<Self>, now: u32) {
        let mut state = self.state.borrow_mut();
        state.liveness.asked(now);
        if !state.outbox.is_full_of_control() {
            state.outbox.push_control(&[Outgoing::Ping as u8, 0]);
            drop(state);
            self.wake();
        }
    }
}
