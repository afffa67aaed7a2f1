//! What the HTTP request of a connection asked for.

use std::net::IpAddr;
use std::sync::Arc;

use fanfare_protocol::Subscribe;

use crate::access::Grant;
use crate::address::AddressKey;
use crate::dialect::Dialect;
use crate::tally::Counted;

/// A connection as its HTTP request wants it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) dialect: Dialect,
    /// What its credentials allow. `None`: they were bad, which the connection is to be told by its close code.
    pub(crate) grant: Option<Arc<Grant>>,
    /// The subscription that it brings with it, for a peer that cannot or need not ask for one.
    pub(crate) begins_with: Option<Subscribe<'static>>,
    pub(crate) client: Client,
}

/// What is known of a client beyond its socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// Its address, where proxies that are trusted say so.
    pub(crate) forwarded: Option<IpAddr>,
    /// It counts among those of its address, where it did not when its socket was accepted.
    pub(crate) by_address: Option<Arc<Counted<AddressKey>>>,
    /// It counts among those of its user.
    pub(crate) by_user: Option<Arc<Counted<Arc<str>>>>,
}

impl Client {
    /// Whether nothing is known.
    pub(crate) fn is_plain(&self) -> bool {
        self.forwarded.is_none() && self.by_address.is_none() && self.by_user.is_none()
    }
}
