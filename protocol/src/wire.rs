//! Frames as they stand on the wire: flat maps with every key of the protocol, the same for all codecs.
//!
//! Reading has two steps, so that a bad field can be named and answered: first any map is taken, with
//! the values as they came ([`fields::Fields`]), then each value is held against what its key asks for. JSON that
//! cannot be taken quickly is read once more with more [`Care`].
//!
//! Each type of frame is read and written in one place, in [`client`] or [`server`]; a key is written in [`key`] alone.

mod client;
mod data;
mod fields;
mod key;
mod map;
mod server;
mod value;

pub(crate) use map::{FromMap, Maps, ToMap, Written};
pub(crate) use server::Envelope;
pub(crate) use value::Care;
