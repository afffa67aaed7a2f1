//! The broker's files that are checked.

#[path = "../../src/topic/agenda.rs"]
pub(crate) mod agenda;
#[path = "../../src/topic/interest.rs"]
pub(crate) mod interest;
#[path = "../../src/topic/mailbox.rs"]
pub(crate) mod mailbox;
#[path = "../../src/topic/ring.rs"]
pub(crate) mod ring;
