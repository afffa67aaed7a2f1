//! Ending a connection's life: by a close frame behind what is still to be said, or without a word.

use std::rc::Rc;

use fanfare_protocol::CloseCode;

use super::life::{Phase, reason_of};
use super::{Connection, State};
use crate::access::GrantEnd;
use crate::websocket::put_close;

/// Milliseconds after which a closing connection is dropped, whether or not its peer has read the close frame.
const LINGER_MS: u32 = 10_000;

impl Connection {
    /// Closes at once: what waits is dropped, but for a frame that was begun.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.end_subscriptions();
        let mut state = self.state.borrow_mut();
        if state.life.is_listening() {
            // The reason in full may quote what the peer sent, which is nobody's business.
            tracing::debug!(connection = %self.id, code = code.get(), reason = reason_of(code, false), "closing");
            let keep_replies = code.range() == fanfare_protocol::CloseRange::StayAway;
            self.put_close(&mut state, code, reason, keep_replies, false);
        }
    }

    /// Queues the close frame and waits for it to be written. Replies that wait, among them the error
    /// that explains the close, may be kept before it.
    fn put_close(&self, state: &mut State, code: CloseCode, reason: &str, keep: bool, by_peer: bool) {
        let known = state.replies.take_known();
        if keep {
            for reply in known {
                state.outbox.push_with(|out| out.extend_from_slice(&reply));
            }
        } else {
            state.outbox.discard();
        }
        state.outbox.push_with(|out| put_close(out, code, reason));
        state.liveness.amid(false, false, 0);
        state.inbound.forget();
        self.forget_answers(state);
        self.leave_lane();
        let until = self.worker.now_ms().wrapping_add(LINGER_MS);
        state.life.close(until, by_peer, code);
        self.wake();
    }

    /// The peer closes: it is answered with its own code.
    pub(super) fn closed_by_peer(&self, code: Option<CloseCode>) {
        self.end_subscriptions();
        let mut state = self.state.borrow_mut();
        self.put_close(&mut state, code.unwrap_or(CloseCode::NORMAL), "", false, true);
    }

    /// Closes with 1012 once everything that its topics have is written.
    pub(crate) fn restart(self: &Rc<Self>) {
        if self.state.borrow().life.is_open() {
            self.close_after_delivery(CloseCode::SERVICE_RESTART, "the server restarts");
        }
    }

    /// Closes a connection whose grant was taken back, at once: nothing that has yet to be written of its topics is for it
    /// any more. What it missed it can ask for by its last position, should it ever be let in again. Whose credentials are still
    /// good has what they grant now, and goes on.
    pub(crate) fn close_if_revoked(&self) {
        let (end, renewed) = {
            let state = self.state.borrow();
            let grant = state.session.grant();
            let end = grant.taken_back();
            let renewed =
                (end == Some(GrantEnd::Superseded)).then(|| self.worker.hub.access().renewed(grant));
            (end, renewed.flatten())
        };
        match end {
            None => {}
            Some(GrantEnd::Superseded) if renewed.is_some() => {
                renewed.into_iter().for_each(|grant| self.regrant(grant));
            }
            // It may come back, and finds what its credentials grant now.
            Some(GrantEnd::Superseded) => self.close_to_return("what the credentials grant has changed"),
            Some(_) => self.close(CloseCode::UNAUTHORIZED, "the credentials were revoked"),
        }
    }

    /// Closes once everything that its topics have is written, its own publications among it.
    pub(super) fn close_after_delivery(self: &Rc<Self>, code: CloseCode, reason: &str) {
        if !self.is_listening() {
            return;
        }
        let keys = self.state.borrow().subscriptions.keys();
        for key in keys {
            self.worker.leave(self, key);
        }
        let until = self.worker.now_ms().wrapping_add(LINGER_MS);
        let mut state = self.state.borrow_mut();
        state.life.drain(until, code, reason.into());
        if !state.life.is_listening() {
            // Nothing of what it has sent is carried out any more, and nobody looks at the rest.
            state.inbound.forget();
            self.leave_lane();
        }
        drop(state);
        self.wake();
    }

    /// Closes with 1012 behind the replies that are known: those that are not have had their time.
    pub(crate) fn restart_now(&self) {
        self.close_to_return("the server restarts");
    }

    fn close_to_return(&self, reason: &str) {
        self.end_subscriptions();
        let mut state = self.state.borrow_mut();
        if state.life.is_delivering() {
            self.put_close(&mut state, CloseCode::SERVICE_RESTART, reason, true, false);
        }
    }

    /// Drops the connection without a word: its peer has had its time.
    pub(crate) fn abandon(&self) {
        self.state.borrow_mut().life.end();
        self.wake();
    }

    /// The socket failed, or the peer closed it.
    pub(super) fn lose(&self) {
        self.abandon();
    }

    /// Everything is written: goes on with what follows in its life.
    pub(super) fn written_out(&self) {
        let mut state = self.state.borrow_mut();
        match state.life.phase().clone() {
            Phase::Draining(drain) if state.subscriptions.behind() == 0 && state.replies.is_empty() => {
                self.put_close(&mut state, drain.code, &drain.reason, true, false);
            }
            Phase::Closing { by_peer: true, .. } => {
                // It goes at once, and TLS ends with a word.
                if self.stream.is_secured() {
                    drop(self.stream.shutdown_write());
                }
                state.life.end();
            }
            Phase::Closing { until, .. } => {
                // Tells the peer that nothing more comes; it may still be sending.
                drop(self.stream.shutdown_write());
                state.life.linger(until);
            }
            Phase::Draining(_) | Phase::Gone | Phase::Lingering { .. } | Phase::Open => {}
        }
    }
}
