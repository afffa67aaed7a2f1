//! What lies between the handles and the driver, both ways and bounded; it must not know who is at either end.
//!
//! Commands, publishes and what was dropped go to the driver; events go to readers, who may slow it down.

mod backlog;
mod command;
mod pressure;
mod queue;
mod room;

pub(crate) use backlog::Backlog;
pub(crate) use command::{
    Command, Departures, Drain, Handed, NewSubscriber, QueueWriter, Reply, Start, Submission, SubscriberId,
};
pub(crate) use pressure::{Patience, Pressure};
pub(crate) use queue::EventQueue;
pub(crate) use room::{Room, RoomTaken};
