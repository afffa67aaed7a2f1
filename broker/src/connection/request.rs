//! What the HTTP request of a connection asked for.

use std::sync::Arc;

use fanfare_protocol::Subscribe;

use crate::access::Grant;
use crate::dialect::Dialect;

/// A connection as its HTTP request wants it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) dialect: Dialect,
    /// What its credentials allow. `None`: they were bad, which the connection is to be told by its close code.
    pub(crate) grant: Option<Arc<Grant>>,
    /// The subscription that it brings with it, for a peer that cannot or need not ask for one.
    pub(crate) begins_with: Option<Subscribe<'static>>,
}
