//! Where credentials come from.

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
pub(crate) enum TokenSource {
    /// Credentials that never change.
    Fixed(String),
    /// The client has no credentials.
    None,
    /// Asked anew each time.
    Source(Arc<dyn Fn() -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync>),
}

impl TokenSource {
    pub(crate) async fn get(&self) -> Result<Option<String>, BoxError> {
        match self {
            Self::Fixed(token) => Ok(Some(token.clone())),
            Self::None => Ok(None),
            Self::Source(source) => source().await.map(Some),
        }
    }

    /// Whether asking again may give something else.
    pub(crate) fn can_change(&self) -> bool {
        matches!(self, Self::Source(_))
    }
}
