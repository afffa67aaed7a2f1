//! The way to a broker, from its URL to frames on a WebSocket; it must not know the session, nor when to try again.

mod dial;
mod endpoint;
mod heard;
mod options;
mod proxy;
mod reach;
#[cfg_attr(not(feature = "_tls"), path = "transport/no_tls.rs")]
mod tls;
mod token;
mod wire;

pub(crate) use dial::{Connected, DialError, Setback, dial};
pub(crate) use endpoint::{Endpoint, without_secrets};
pub(crate) use options::DialOptions;
pub(crate) use proxy::Proxies;
#[cfg(feature = "_tls")]
pub use tls::{Trust, secure};
pub(crate) use token::{BoxError, TokenSource};
pub(crate) use wire::{Lost, Wire};
