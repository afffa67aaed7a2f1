//! What the HTTP request of a WebSocket asked for.

use std::sync::Arc;

use fanfare_protocol::OnLag;

use crate::access::Grant;
use crate::dialect::Dialect;

/// What it asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) dialect: Dialect,
    /// `None`: the credentials were bad, which the connection is to be told by its close code.
    pub(crate) grant: Option<Arc<Grant>>,
    /// A raw connection's one subscription.
    pub(crate) raw: Option<RawRequest>,
}

/// What a raw connection subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct RawRequest {
    pub(crate) topic: fanfare_protocol::TopicName,
    pub(crate) history: u64,
    pub(crate) echo: bool,
    pub(crate) on_lag: OnLag,
}
