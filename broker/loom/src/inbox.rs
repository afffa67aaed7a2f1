//! The broker's files that are checked.

#[path = "../../src/inbox/lanes.rs"]
pub(crate) mod lanes;
