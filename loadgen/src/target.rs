//! What is said to a broker and how its messages are read. It must know no socket, no plan and no scenario.
//!
//! A [`Target`] is a kind of broker; a `Dialect` is the talk on one connection to it, and knows what
//! was said there before. Bytes in, `Event`s and answers out: everything else is the same for all of them.

mod centrifugo;
mod dialect;
mod event;
mod kind;
mod mqtt;
mod native;
mod nats;
mod plain;
mod pusher;
mod small;
mod socketio;
mod stream;

pub(crate) use self::dialect::Dialect;
pub(crate) use self::event::{Context, Event, Place, Recovery, Role};
pub use self::kind::Target;

#[cfg(test)]
mod tests;
