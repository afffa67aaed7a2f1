//! Reading from the socket, and taking in what was read. [hot; life of a publication: step 1]

use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::Waker;

use fanfare_protocol::limits::TOKEN_BYTES_MAX;

use super::inbound::Taken;
use super::{Connection, UNREAD_REPLIES_MAX};
use crate::dialect::message::{FrameResult, WebSocketMessage};
use crate::websocket::{Incoming, MessageLimits, Outgoing, Stop, Violation, put_frame};
use crate::worker::READ_BYTES;
use crate::workers::credit::{Lane, Wants};
use crate::workers::stats::Wait;

/// Bytes of a message of whoever may do nothing (yet): a token, and as much around it as anybody needs.
const STRANGER_MESSAGE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 4 * 1024;

impl Connection {
    /// Reads once, into the worker's scratch buffer.
    pub(super) fn read(self: &Rc<Self>) {
        let mut scratch = self.worker.scratch.take();
        scratch.resize(READ_BYTES, 0);
        let read = self.stream.try_read(&mut scratch);
        if self.stream.is_secured() {
            // Much may have been decrypted of which nothing came.
            self.worker.turns.took_long();
        }
        match read {
            Ok(0) => self.lose(),
            Ok(count) => {
                self.worker.stats.received(count);
                self.worker.turns.count_bytes(count);
                self.receive(&mut scratch[..count]);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.lose(),
        }
        self.worker.scratch.set(scratch);
    }

    /// Keeps what was read with the request for its first turn, for which a stranger stands in line.
    pub(super) fn keep_early(&self, bytes: &[u8]) {
        self.worker.stats.received(bytes.len());
        let mut state = self.state.borrow_mut();
        if state.life.is_listening() {
            state.inbound.keep_read(bytes);
        }
    }

    /// Takes in what was read, as far as the turn goes; the decoder keeps the rest.
    pub(super) fn receive(self: &Rc<Self>, bytes: &mut [u8]) {
        let mut decoder = {
            let mut state = self.state.borrow_mut();
            if !bytes.is_empty() {
                state.liveness.heard();
            }
            if !state.life.is_listening() {
                return;
            }
            state.inbound.take_decoder()
        };
        self.worker.look_at_limits(&self.worker.hub.config().limits);
        let was_stranger = self.is_stranger();
        let limits = self.message_limits(was_stranger);
        let (mut completed, mut paused) = (false, false);
        let result = decoder.decode(bytes, limits, |incoming| {
            completed |= matches!(incoming, Incoming::Binary(_) | Incoming::Text(_));
            let mut taken = self.take(incoming);
            if taken.is_continue() && was_stranger && !self.is_stranger() {
                // What follows may be larger.
                taken = ControlFlow::Break(Stop::Pause);
            }
            paused = taken == ControlFlow::Break(Stop::Pause);
            taken
        });
        let mut state = self.state.borrow_mut();
        if state.life.is_listening() {
            // What follows a whole message has begun just now; while it is we who pause nobody is late.
            state.liveness.amid(decoder.is_amid() && !paused, completed, self.worker.now_ms());
            state.inbound.put_decoder(decoder, paused);
        }
        drop(state);
        if let Err(Violation { code, reason }) = result {
            self.close_after_delivery(code, reason);
        }
    }

    /// The bounds of a message: one that may do nothing has nothing to say but who it is.
    fn message_limits(&self, is_stranger: bool) -> MessageLimits {
        let limits = &self.worker.hub.config().limits;
        let configured = limits.message_size.as_u64() as usize;
        MessageLimits {
            bytes: if is_stranger { configured.min(STRANGER_MESSAGE_BYTES_MAX) } else { configured },
            fragments: limits.message_fragments,
        }
    }

    /// Takes in one frame, and says whether the decoder is to go on.
    fn take(self: &Rc<Self>, incoming: Incoming<'_>) -> ControlFlow<Stop> {
        match incoming {
            Incoming::Ping(payload) => {
                let mut state = self.state.borrow_mut();
                if !state.outbox.is_full_of_control() {
                    let mut pong = Vec::with_capacity(payload.len() + 2);
                    put_frame(&mut pong, Outgoing::Pong, payload);
                    state.outbox.push_control(&pong);
                }
            }
            Incoming::Pong => {}
            Incoming::Close(code) => self.closed_by_peer(code),
            Incoming::Text(text) => self.message(WebSocketMessage::Text(text)),
            Incoming::Binary(bytes) => self.message(WebSocketMessage::Binary(bytes)),
        }
        self.worker.turns.count_frame();
        if !self.is_listening() {
            ControlFlow::Break(Stop::Forget)
        } else if self.is_to_pause() || self.state.borrow().inbound.has_backlog() {
            ControlFlow::Break(Stop::Pause)
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether nothing more is to be carried out for now: its turn is over, or too many replies wait.
    pub(super) fn is_to_pause(&self) -> bool {
        self.worker.turns.is_over()
            || self.state.borrow().outbox.len() > UNREAD_REPLIES_MAX
            || self.waits_for_replies()
    }

    /// Whether so many replies are outstanding that nothing more is taken in. Whoever can be told is refused more than
    /// may wait; whoever cannot has to wait.
    pub(super) fn waits_for_replies(&self) -> bool {
        let replies = &self.state.borrow().replies;
        replies.is_full() || (!self.dialect.says_refusals() && !replies.has_capacity())
    }

    /// Whether it is to be closed when the replies that are outstanding are said: no more is to be.
    pub(super) fn drains_its_replies(&self) -> bool {
        let state = self.state.borrow();
        !state.replies.is_empty() && state.life.is_draining()
    }

    /// Keeps what is yet to be carried out, behind what is kept already.
    pub(super) fn keep(&self, ask: FrameResult<'static>) {
        self.state.borrow_mut().inbound.keep(ask);
    }

    /// Keeps what stands behind new credentials, of whose bearer it is counted when it is carried out.
    pub(super) fn keep_uncounted(&self, ask: FrameResult<'static>) {
        self.state.borrow_mut().inbound.keep_uncounted(ask);
    }

    /// Carries out what was kept, as far as it may.
    pub(super) fn carry_on(self: &Rc<Self>) {
        loop {
            let Some(Taken { ask, held, is_counted }) = self.state.borrow_mut().inbound.take() else {
                return;
            };
            let Some(ask) = (if is_counted { Some(ask) } else { self.limited(ask) }) else {
                return self.state.borrow_mut().inbound.forget_backlog();
            };
            if let Some(ask) = self.ask(ask) {
                return self.state.borrow_mut().inbound.put_back(ask);
            }
            self.worker.turns.count_frame();
            let mut state = self.state.borrow_mut();
            if !state.life.is_listening() {
                return state.inbound.forget_backlog();
            }
            state.inbound.settled(held);
            drop(state);
            if self.is_to_pause() {
                return;
            }
        }
    }

    /// Takes a publication of so many bytes from the worker's credit; where there is none it stands in line.
    pub(super) fn may_publish(&self, bytes: usize) -> bool {
        let waker = self.waker.take();
        let or_noop = waker.as_ref().unwrap_or(Waker::noop());
        let taken = self.worker.handle().poll_publish(self.lane(), bytes, Wants::Many, or_noop);
        self.waker.set(waker);
        if taken.is_pending() {
            self.standing.await_credit(|| self.worker.now_ms());
        } else {
            self.waited(Wait::Credit, self.standing.get_credit());
        }
        taken.is_ready()
    }

    /// Has nothing more to publish for now: what is left of its share is for others.
    pub(super) fn give_share_back(&self) {
        if self.standing.give_share_back() {
            self.worker.handle().leave(self.lane());
        }
    }

    /// The lane in which it stands in line for its worker's credit.
    fn lane(&self) -> Lane {
        Lane(self.id.get())
    }

    /// Stands in line for credit no longer.
    pub(super) fn leave_lane(&self) {
        let (since, has_to_leave) = self.standing.leave_credit();
        self.waited(Wait::Credit, since);
        if has_to_leave {
            self.worker.handle().leave(self.lane());
        }
    }
}
