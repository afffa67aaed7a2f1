//! One connection's interest in one topic.

use std::sync::Arc;

use fanfare_protocol::{Offset, OnLag};

use crate::topic::Topic;

/// One connection's interest in one topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: Arc<Topic>,
    /// Whether the connection's own publications come back.
    pub(crate) echo: bool,
    pub(crate) on_lag: OnLag,
    pub(crate) place: Place,
}

/// How a subscription gets its publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the ring, at its own pace, from this offset on.
    Behind { next: Offset },
    /// With its group in every round; the slot is its place among the group's members.
    InStep { slot: usize },
}
