//! What each scenario asks of a broker, how that is measured, and its report. It must know none of the commands.
//!
//! A scenario knows its own arguments, but not how its report is shown, or what becomes of it.

pub(crate) mod args;
pub(crate) mod connect;
pub(crate) mod fanout;
pub(crate) mod find_max;
pub(crate) mod idle;
pub(crate) mod ingest;
pub(crate) mod mesh;
pub(crate) mod neighbour;
pub(crate) mod resume;
pub(crate) mod rooms;
mod search;
mod steady;
pub(crate) mod strangers;
pub(crate) mod stuck;

#[cfg(test)]
mod tests;
