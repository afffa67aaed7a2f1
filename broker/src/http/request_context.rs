//! What the routes are given to answer with.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::hub::Hub;

/// The broker, and the worker that serves the request, by its index.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) hub: Arc<Hub>,
    pub(super) worker: usize,
}

impl FromRef<RequestContext> for Arc<Hub> {
    fn from_ref(context: &RequestContext) -> Self {
        Self::clone(&context.hub)
    }
}
