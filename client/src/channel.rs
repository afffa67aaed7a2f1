//! What lies between the handles and the driver, both ways and bounded; it must not know who is at either end.
//!
//! Commands, publishes and what was dropped go to the driver; events go to readers, who may slow it down.

mod backlog;
mod backpressure;
mod command;
mod permits;
mod queue;
mod read_pause;

pub(crate) use backlog::Backlog;
pub(crate) use backpressure::Backpressure;
pub(crate) use command::{
    Command, Departures, Drain, Handed, NewSubscriber, QueueWriter, Reply, Start, Submission, SubscriberId,
};
pub(crate) use permits::{PublishPermit, PublishPermits};
pub(crate) use queue::EventQueue;
pub(crate) use read_pause::ReadPause;
