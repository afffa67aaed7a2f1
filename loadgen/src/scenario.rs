//! What each scenario asks of a broker, how that is measured, and its report. It must know none of the commands.
//!
//! A scenario knows its own arguments, but not how its report is shown, or what becomes of it.

pub mod args;
pub mod beside;
pub mod connect;
pub mod fanout;
pub mod find_max;
pub mod idle;
pub mod ingest;
pub mod mesh;
pub mod neighbour;
pub mod ping;
mod pour;
pub mod resume;
pub mod rooms;
mod search;
mod steady;
pub mod strangers;
pub mod stuck;

#[cfg(test)]
mod tests;
