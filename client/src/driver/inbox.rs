//! What the handles send to the driver, from its three sources.

use std::future::pending;
use std::mem;
use std::sync::Arc;

use fanfare_protocol::TopicName;
use tokio::select;
use tokio::sync::mpsc;

use crate::channel::{Command, Departures, Handed, SubscriberId};
use crate::error::Error;
use crate::state::CloseReason;

/// Publishes taken in one go.
const BATCH_MAX: usize = 1024;

pub(crate) struct Inbox {
    commands: mpsc::Receiver<Command>,
    publishes: mpsc::Receiver<Handed>,
    departures: Arc<Departures>,
    batch: Vec<Handed>,
    /// Whether more may come from either.
    commands_open: bool,
    publishes_open: bool,
}

pub(crate) enum Input {
    Command(Command),
    Departures(Vec<(TopicName, SubscriberId)>),
    /// Publishes, in the order in which they were handed over.
    Publishes(Vec<Handed>),
}

impl Inbox {
    pub(crate) fn new(
        commands: mpsc::Receiver<Command>,
        publishes: mpsc::Receiver<Handed>,
        departures: Arc<Departures>,
    ) -> Self {
        Self { commands, publishes, departures, batch: Vec::new(), commands_open: true, publishes_open: true }
    }

    /// Waits for the next input; for ever, once every handle is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Input> {
        if self.is_exhausted() {
            return pending().await;
        }
        select! {
            command = self.commands.recv(), if self.commands_open => {
                self.commands_open = command.is_some();
                command.map(Input::Command)
            }
            count = self.publishes.recv_many(&mut self.batch, BATCH_MAX), if self.publishes_open => {
                self.publishes_open = count > 0;
                (count > 0).then(|| Input::Publishes(mem::take(&mut self.batch)))
            }
            departures = self.departures.wait() => Some(Input::Departures(departures)),
        }
    }

    /// Takes nothing new; what was sent already still comes.
    pub(crate) fn close(&mut self) {
        self.commands.close();
        self.publishes.close();
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_exhausted(&self) -> bool {
        !self.commands_open && !self.publishes_open
    }

    /// Refuses what is left; returns how many publishes that are.
    pub(crate) fn refuse(mut self, reason: &CloseReason) -> u64 {
        let mut refused = 0;
        self.close();
        while let Ok(handed) = self.publishes.try_recv() {
            if let Handed::Publish(submission) = handed {
                refused += 1;
                submission.reply.send(Err(Error::closed(reason.clone())));
            }
        }
        // Commands and flushes find out by their replies being dropped.
        refused
    }
}
