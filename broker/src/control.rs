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

/// What one page holds where the request does not say how much.
const PAGE_DEFAULT: usize = 100;
/// What one page holds whatever the request says.
const PAGE_MAX: usize = 1000;

/// How much a page holds for which so much was asked.
pub(crate) fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}
