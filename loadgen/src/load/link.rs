//! One publisher's connection: what waits to be sent on it, and what the broker said about what was.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::load::connection::Talk;
use crate::load::plan::Plan;
use crate::load::tally::Troubles;
use crate::target::Event;
use crate::wire::socket::{Buffer, ConnectionEnd, Reader, Writer};
use crate::wire::websocket::Incoming;

/// One publication in so many is confirmed, and each publisher's last: replies keep their order, so one
/// confirms all before it.
const CONFIRM_EVERY: u64 = 64;
/// How many bytes may wait before the publisher stops to let the broker take them; then it falls behind
/// its schedule, which shows in the latency.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// A connection that publishes.
#[derive(Debug)]
pub(crate) struct Link {
    plan: Arc<Plan>,
    writer: Writer,
    /// What the kernel did not take yet waits here: at most [`WAITING_BYTES_MAX`] and one publication.
    talk: RefCell<Talk>,
    /// The kernel did not take all.
    blocked: Notify,
    /// Fewer bytes may wait than before.
    capacity: Notify,
    ended: Cell<bool>,
    sent: Cell<u64>,
    /// How many of those were taken or refused for certain.
    answered: Cell<u64>,
    refused: Cell<u64>,
    /// How many of the answered ones were refused.
    answered_refused: Cell<u64>,
    troubles: RefCell<Troubles>,
}

impl Link {
    pub(crate) fn new(plan: Arc<Plan>, writer: Writer, talk: Talk) -> Self {
        Self {
            plan,
            writer,
            talk: RefCell::new(talk),
            blocked: Notify::new(),
            capacity: Notify::new(),
            ended: Cell::new(false),
            sent: Cell::new(0),
            answered: Cell::new(0),
            refused: Cell::new(0),
            answered_refused: Cell::new(0),
            troubles: RefCell::default(),
        }
    }

    /// Whether nothing can be sent any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Returns when not too much waits, or the connection has ended.
    pub(crate) async fn wait_for_capacity(&self) {
        let full = || self.talk.borrow().out.len() > WAITING_BYTES_MAX && !self.ended.get();
        if full() {
            // Much was due at once, and nobody has tried to send it yet.
            self.flush();
        }
        while full() {
            self.capacity.notified().await;
        }
    }

    /// Queues a publication; true when it is the first since the last [`flush`](Self::flush).
    pub(crate) fn publish(&self, topic: u32, payload: &[u8], last: bool) -> bool {
        let n = self.sent.get() + 1;
        self.sent.set(n);
        let confirm = (last || n.is_multiple_of(CONFIRM_EVERY)).then_some(n);
        let Talk { dialect, out } = &mut *self.talk.borrow_mut();
        let first = out.is_empty();
        dialect.publish(&self.plan.topics[topic as usize], payload, confirm, out);
        first
    }

    /// Sends what the kernel takes now; [`write_waiting`](Self::write_waiting) sees to the rest.
    pub(crate) fn flush(&self) {
        let out = &mut self.talk.borrow_mut().out;
        match self.writer.try_write(out.bytes()) {
            Ok(written) => out.written(written),
            Err(ended) => return self.end(&ended),
        }
        if !out.is_empty() {
            self.blocked.notify_one();
        }
    }

    /// Sends what [`flush`](Self::flush) left, until the connection ends. Cancel safe.
    pub(crate) async fn write_waiting(self: Rc<Self>) {
        while !self.ended.get() {
            self.blocked.notified().await;
            match self.writer.writable().await {
                Ok(()) => self.flush(),
                Err(ended) => self.end(&ended),
            }
            self.capacity.notify_one();
        }
    }

    /// Reads what the broker says, until the connection ends. Cancel safe.
    pub(crate) async fn read_replies(self: Rc<Self>, mut reader: Reader, buffer: Rc<Buffer>) {
        loop {
            if let Err(ended) = reader.read(&buffer, |_, incoming| self.take(incoming)).await {
                return self.end(&ended);
            }
        }
    }

    /// How many publications were refused, or sent and not confirmed.
    pub(crate) fn errors(&self) -> u64 {
        match self.plan.target.confirms_publications() {
            true => self.sent.get() - self.answered.get() + self.answered_refused.get(),
            false => self.refused.get(),
        }
    }

    /// Adds what went wrong here.
    pub(crate) fn add_troubles_to(&self, all: &mut Troubles) {
        all.add(&self.troubles.borrow());
    }

    fn take(&self, incoming: Incoming<'_>) -> Result<(), ConnectionEnd> {
        let answered = {
            let mut talk = self.talk.borrow_mut();
            let waited = talk.out.len();
            talk.take(incoming, |event| {
                match event {
                    Event::Published(n) => self.answered(n),
                    Event::Error { id, why } => {
                        self.refused.set(self.refused.get() + 1);
                        self.troubles.borrow_mut().count(&format!("publisher {why}"));
                        id.into_iter().for_each(|n| self.answered(n));
                    }
                    _ => self.troubles.borrow_mut().count("publisher got what it did not ask for"),
                }
                Ok(())
            })?;
            talk.out.len() > waited
        };
        if answered {
            self.flush();
        }
        Ok(())
    }

    /// The broker answered number `n`, and so it has dealt with all before.
    fn answered(&self, n: u64) {
        self.answered.set(n.clamp(self.answered.get(), self.sent.get()));
        self.answered_refused.set(self.refused.get());
    }

    fn end(&self, ended: &ConnectionEnd) {
        if !self.ended.replace(true) {
            self.troubles.borrow_mut().count(&format!("publisher {ended}"));
        }
        self.capacity.notify_one();
    }
}
