//! A question that only a worker can answer: how many of its connections are somebody's.

use std::sync::Arc;

use tokio::sync::oneshot;

/// How many connections of a worker are of that user: asked on any thread, counted by the worker as it walks over them.
#[derive(Debug)]
pub(crate) struct Count {
    user: Arc<str>,
    counted: usize,
    answer: oneshot::Sender<usize>,
}

impl Count {
    /// The question, and where its answer comes.
    pub(super) fn of(user: Arc<str>) -> (Self, oneshot::Receiver<usize>) {
        let (answer, answered) = oneshot::channel();
        (Self { user, counted: 0, answer }, answered)
    }

    /// Counts a connection of that user, or of nobody in particular.
    pub(crate) fn look_at(&mut self, user: Option<&Arc<str>>) {
        self.counted += usize::from(user == Some(&self.user));
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers.
    pub(crate) fn end(self) {
        let _unheard = self.answer.send(self.counted);
    }
}
