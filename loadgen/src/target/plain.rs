//! Topics in the path, payloads alone in the frames: Fanfare's raw endpoint.

use super::{Event, bare};
use crate::outgoing::{Opcode, Outgoing};

/// The talk on a connection that has a topic by its path.
#[derive(Debug)]
pub(crate) struct Plain {
    size: usize,
}

impl Plain {
    pub(super) fn new(size: usize) -> Self {
        Self { size }
    }

    pub(super) fn publish(&mut self, payload: &[u8], out: &mut Outgoing) {
        out.frame(Opcode::Text, &[payload]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        on_event(bare(message, self.size))
    }
}
