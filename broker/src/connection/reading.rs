//! Reading from the socket, and taking in what was read. [hot; life of a publication: step 1]

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::rc::Rc;

use socket2::SockRef;
use tokio::io::Interest;

use super::{Connection, UNREAD_REPLIES_MAX};
use crate::websocket::{Incoming, MessageLimits, Outgoing, Stop, Violation, put_frame};
use crate::worker::READ_BYTES;

impl Connection {
    /// Reads once, into the worker's scratch buffer.
    pub(super) fn read(self: &Rc<Self>) {
        let mut scratch = self.worker.scratch.take();
        scratch.resize(READ_BYTES, 0);
        match self.read_into(&mut scratch) {
            Ok(0) => self.lose(),
            Ok(count) => {
                self.worker.stats.received(count);
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
                state.heard_at = self.worker.now_ms();
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
            let begun = state.amid_since.filter(|_| !completed);
            let since = || begun.unwrap_or_else(|| self.worker.now_ms());
            state.amid_since = (decoder.is_amid() && !paused).then(since);
            state.decoder = decoder;
            state.is_paused = paused;
        }
        drop(state);
        if let Err(Violation { code, reason }) = result {
            self.close(code, reason);
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
                Some(_) => self.publish_raw(fanfare_protocol::Payload::text(text)),
                None => self.native_message(fanfare_protocol::Codec::Json, text.as_bytes()),
            },
            Incoming::Binary(bytes) => match self.raw_topic {
                Some(_) => self.publish_raw(fanfare_protocol::Payload::binary(bytes.to_vec())),
                None => self.native_message(fanfare_protocol::Codec::MessagePack, bytes),
            },
        }
        if !self.is_listening() {
            ControlFlow::Break(Stop::Forget)
        } else if self.state.borrow().outbox.len() > UNREAD_REPLIES_MAX || self.worker.is_full() {
            ControlFlow::Break(Stop::Pause)
        } else {
            ControlFlow::Continue(())
        }
    }
}
