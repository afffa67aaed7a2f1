//! Frames as they stand on the wire: flat maps with every key of the protocol, the same for all codecs.
//!
//! Reading has two steps, so that a bad field can be named and answered: first any map is taken, with
//! the values as they came ([`ClientWire`]), then each value is held against what its key asks for. JSON that cannot be
//! taken quickly is read once more with more [`Care`].

mod client;
mod data;
mod fields;
mod map;
mod server;
mod value;

pub(crate) use client::ClientWire;
pub(crate) use map::{Maps, Wire};
pub(crate) use server::{MessageWire, ServerWire, WrittenFrame};
pub(crate) use value::Care;
