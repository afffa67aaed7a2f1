//! Reading from the socket, and taking in what was read. [hot; life of a publication: step 1]
//!
//! What a turn or the worker's credit does not let through is kept, in order, and carried out later; meanwhile
//! nothing more is taken in.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::Waker;

use fanfare_protocol::{ClientFrame, Codec, FrameError, Payload};
use socket2::SockRef;
use tokio::io::Interest;

use super::{Connection, State, UNREAD_REPLIES_MAX};
use crate::metrics::Wait;
use crate::websocket::{Incoming, MessageLimits, Outgoing, Stop, Violation, put_frame};
use crate::worker::READ_BYTES;
use crate::worker::credit::{Lane, Wants};

/// Something that a peer asked for and that is yet to be carried out.
#[derive(Debug)]
pub(super) enum Ask {
    /// A frame of the native protocol, or what is wrong with it.
    Frame(Codec, Result<ClientFrame<'static>, FrameError>),
    /// What a raw connection publishes.
    Raw(Payload),
}

impl Ask {
    /// Bytes that it takes while it waits.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Frame(_, Ok(frame)) => frame.owned_bytes(),
            Self::Frame(_, Err(error)) => size_of::<Self>() + error.message.len(),
            Self::Raw(payload) => size_of::<Self>() + payload.as_bytes().len(),
        }
    }
}

impl Connection {
    /// Reads once, into the worker's scratch buffer.
    pub(super) fn read(self: &Rc<Self>) {
        let mut scratch = self.worker.scratch.take();
        scratch.resize(READ_BYTES, 0);
        match self.read_into(&mut scratch) {
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

    /// One system call. A read that does not fill the buffer has emptied the socket: saying so to tokio
    /// spares the call that would find out.
    fn read_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let read = (&*SockRef::from(&self.stream)).read(buffer)?;
            count = Some(read);
            if (1..buffer.len()).contains(&read) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
        });
        count.map_or(result, Ok)
    }

    /// Takes in what was read.
    pub(super) fn receive(self: &Rc<Self>, bytes: &mut [u8]) {
        let mut decoder = {
            let mut state = self.state.borrow_mut();
            if !bytes.is_empty() {
                state.liveness.heard();
            }
            if !state.phase.is_listening() {
                return;
            }
            std::mem::take(&mut state.decoder)
        };
        let limits = &self.worker.hub.config.limits;
        let limits = MessageLimits {
            bytes: limits.message_size.as_u64() as usize,
            fragments: limits.message_fragments,
        };
        let (mut completed, mut paused) = (false, false);
        let result = decoder.decode(bytes, limits, |incoming| {
            completed |= matches!(incoming, Incoming::Binary(_) | Incoming::Text(_));
            let taken = self.take(incoming);
            paused = taken == ControlFlow::Break(Stop::Pause);
            taken
        });
        let mut state = self.state.borrow_mut();
        if state.phase.is_listening() {
            // What follows a whole message has begun just now; while it is we who pause nobody is late.
            state.liveness.amid(decoder.is_amid() && !paused, completed, self.worker.now_ms());
            state.decoder = decoder;
            state.is_paused = paused;
        }
        drop(state);
        if let Err(Violation { code, reason }) = result {
            self.close_after_delivery(code, reason);
        }
    }

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
            Incoming::Text(text) => match self.raw_topic {
                Some(_) => self.take_or_keep(Ask::Raw(Payload::text(text))),
                None => self.native_message(Codec::Json, text.as_bytes()),
            },
            Incoming::Binary(bytes) => match self.raw_topic {
                Some(_) => self.take_or_keep(Ask::Raw(Payload::binary(bytes.to_vec()))),
                None => self.native_message(Codec::MessagePack, bytes),
            },
        }
        self.worker.turns.count_frame();
        if !self.is_listening() {
            ControlFlow::Break(Stop::Forget)
        } else if self.is_to_pause() || !self.state.borrow().backlog.is_empty() {
            ControlFlow::Break(Stop::Pause)
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether nothing more is to be carried out for now: its turn is over, or too many replies wait.
    pub(super) fn is_to_pause(&self) -> bool {
        self.worker.turns.is_over() || self.state.borrow().outbox.len() > UNREAD_REPLIES_MAX
    }

    /// Keeps what is yet to be carried out, behind what is kept already.
    pub(super) fn keep(&self, ask: Ask) {
        let mut state = self.state.borrow_mut();
        state.backlog_bytes += ask.held_bytes();
        state.backlog.push_back(ask);
    }

    fn take_or_keep(self: &Rc<Self>, ask: Ask) {
        if let Some(ask) = self.carry_out(ask) {
            self.keep(ask);
        }
    }

    /// Carries out what was kept, as far as it may.
    pub(super) fn carry_on(self: &Rc<Self>) {
        loop {
            let Some(ask) = self.state.borrow_mut().backlog.pop_front() else { break };
            let held = ask.held_bytes();
            if let Some(ask) = self.carry_out(ask) {
                return self.state.borrow_mut().backlog.push_front(ask);
            }
            self.worker.turns.count_frame();
            let mut state = self.state.borrow_mut();
            if !state.phase.is_listening() {
                break;
            }
            state.backlog_bytes -= held;
            if state.backlog.is_empty() {
                break;
            }
            drop(state);
            if self.is_to_pause() {
                return;
            }
        }
        self.state.borrow_mut().forget_backlog();
    }

    /// Carries it out; gives it back where it has to wait.
    fn carry_out(self: &Rc<Self>, ask: Ask) -> Option<Ask> {
        match ask {
            Ask::Frame(codec, frame) => self
                .frame_or_error(codec, frame)
                .map(|frame| Ask::Frame(codec, frame.map(ClientFrame::into_owned))),
            Ask::Raw(payload) => self.publish_raw(payload).map(Ask::Raw),
        }
    }

    /// Takes a publication of so many bytes from the worker's credit; where there is none it stands in line.
    pub(super) fn may_publish(&self, bytes: usize) -> bool {
        let waker = self.waker.take();
        let or_noop = waker.as_ref().unwrap_or(Waker::noop());
        let taken = self.worker.handle().poll_publish(self.lane(), bytes, Wants::Many, or_noop);
        self.waker.set(waker);
        let since = self.awaits_credit_since.get();
        if taken.is_pending() {
            self.awaits_credit_since.set(since.or_else(|| Some(self.worker.now_ms())));
            self.has_share.set(false);
        } else if since.is_some() {
            self.waited(Wait::Credit, self.awaits_credit_since.take());
            self.has_share.set(true);
        }
        taken.is_ready()
    }

    /// Has nothing more to publish for now: what is left of its share is for others.
    pub(super) fn give_share_back(&self) {
        if !self.awaits_credit() && self.has_share.replace(false) {
            self.worker.handle().leave(self.lane());
        }
    }

    fn lane(&self) -> Lane {
        Lane(self.id.get())
    }

    /// Stands in line for credit no longer.
    pub(super) fn leave_lane(&self) {
        let since = self.awaits_credit_since.take();
        self.waited(Wait::Credit, since);
        if since.is_some() | self.has_share.replace(false) {
            self.worker.handle().leave(self.lane());
        }
    }

    /// Whether something lies in the socket that was not read yet, the end of the stream included.
    pub(super) fn has_unread_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(&self.stream).peek(&mut byte).is_ok()
    }
}

impl State {
    /// Nothing that was taken in is carried out any more.
    pub(super) fn forget_backlog(&mut self) {
        self.backlog = VecDeque::new();
        self.backlog_bytes = 0;
    }
}
