//! A byte stream in WebSocket messages, which join and split what is said as they like.

/// The end of the stream that is not whole yet. Whoever reads it bounds what may become whole.
#[derive(Debug, Default)]
pub(super) struct Stream {
    unfinished: Vec<u8>,
}

impl Stream {
    /// Shows `take` all that is there, with a new message at its end; it returns how many bytes of that
    /// it is done with.
    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        if self.unfinished.is_empty() {
            let taken = take(message)?;
            self.unfinished.extend_from_slice(&message[taken..]);
        } else {
            self.unfinished.extend_from_slice(message);
            let taken = take(&self.unfinished)?;
            self.unfinished.drain(..taken);
        }
        Ok(())
    }
}
