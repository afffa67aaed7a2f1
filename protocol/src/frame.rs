//! The frames of the protocol, as values.

mod client;
mod server;

use std::num::NonZeroU64;

pub use client::{ClientFrame, ClientOp, FrameError, OnLag, Publish, Subscribe, Token};
pub use server::{Author, ErrorFrame, Gap, Message, Recovery, ServerFrame, Subscribed};

use crate::limits::{MESSAGE_ID_BYTES_MAX, REQUEST_ID_MAX};

/// The number by which a reply finds its request: 1 to 2^53-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(NonZeroU64);

impl RequestId {
    /// The id with this number, if it is in range.
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) if id.get() <= REQUEST_ID_MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// The id as a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Checks that `id` has 1 to [`MESSAGE_ID_BYTES_MAX`] bytes.
///
/// # Errors
/// Says how long it is.
pub fn check_message_id(id: &str) -> Result<(), String> {
    match id.len() {
        1..=MESSAGE_ID_BYTES_MAX => Ok(()),
        n => Err(format!("message_id has 1 to {MESSAGE_ID_BYTES_MAX} bytes, this one has {n}")),
    }
}
