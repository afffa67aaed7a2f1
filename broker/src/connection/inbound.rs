//! What has come in on a connection and is yet to be carried out. Pure.
//!
//! What a turn or the worker's credit does not let through is kept here, in order; meanwhile nothing more is taken in.

use std::collections::VecDeque;

use crate::dialect::asks::Ask;
use crate::websocket::Decoder;

/// What waits is counted in steps of so many bytes: in 32 bits that is more than may ever wait.
const STEP: usize = 64;

/// Steps of bytes that something takes while it waits.
fn steps_of(ask: &Ask<'static>) -> u32 {
    let bytes = match ask {
        Ok(frame) => frame.owned_bytes(),
        Err(error) => size_of_val(ask) + error.message.len(),
    };
    bytes.div_ceil(STEP) as u32
}

/// What has come in. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    decoder: Decoder,
    /// Frames that were read and are yet to be carried out.
    backlog: VecDeque<Ask<'static>>,
    /// Invariant: the steps that the backlog takes, and those of a frame that was [taken](Self::take) and is not
    /// [settled](Self::settled).
    backlog_steps: u32,
    /// What has been read already is yet to be taken in.
    is_paused: bool,
}

impl Inbound {
    /// Takes the decoder out, to be [given back](Self::put_decoder) when it has read.
    pub(super) fn take_decoder(&mut self) -> Decoder {
        std::mem::take(&mut self.decoder)
    }

    /// Gives the decoder back; it was `paused` where it has more that was read.
    pub(super) fn put_decoder(&mut self, decoder: Decoder, paused: bool) {
        self.decoder = decoder;
        self.is_paused = paused;
    }

    /// Whether what was read already is yet to be taken in.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether something that was taken in is yet to be carried out.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Keeps what is yet to be carried out, behind what is kept already.
    pub(super) fn keep(&mut self, ask: Ask<'static>) {
        self.backlog_steps += steps_of(&ask);
        self.backlog.push_back(ask);
    }

    /// What is to be carried out next, and the steps that it takes until it is [settled](Self::settled).
    pub(super) fn take(&mut self) -> Option<(Ask<'static>, u32)> {
        self.backlog.pop_front().map(|ask| {
            let held = steps_of(&ask);
            (ask, held)
        })
    }

    /// What was taken has to wait: it is next again.
    pub(super) fn put_back(&mut self, ask: Ask<'static>) {
        self.backlog.push_front(ask);
    }

    /// What was taken is carried out.
    pub(super) fn settled(&mut self, held: u32) {
        self.backlog_steps -= held;
    }

    /// Nothing that was taken in is carried out any more.
    pub(super) fn forget_backlog(&mut self) {
        self.backlog = VecDeque::new();
        self.backlog_steps = 0;
    }

    /// Nothing that has come in counts any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.backlog_steps as usize * STEP
    }
}
