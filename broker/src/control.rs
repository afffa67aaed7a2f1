//! What an operator may look at and do while the broker runs: connections, users, what is busiest.
//!
//! Connections are found by the [directory](crate::directory), and looked at by the workers that have them, a few at a time: however
//! many there are, and whoever asks how often, nobody who is served waits for more than one such look. It must not know how it is
//! asked for, nor whether whoever asks may.

mod connections;
mod scan;
mod top;
mod users;

pub(crate) use connections::{Description, Filter, close, close_user, describe, end_subscription, list};
pub(crate) use scan::Found;
pub(crate) use top::{BusyTopic, SlowReader, busiest, slowest};
pub(crate) use users::list as list_users;

pub(crate) use crate::operation::list::page_size;
