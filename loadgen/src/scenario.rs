//! The scenarios: what each asks of a broker, how it is measured, and what its report says.
//!
//! They know their own arguments, but neither the program's commands nor how a report is shown.

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
