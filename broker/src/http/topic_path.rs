//! The topic that a path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use fanfare_protocol::{ErrorCode, TopicName};

use super::problem::Problem;

/// The `{topic}` of a path, percent-decoded and checked.
#[derive(Debug)]
pub(super) struct TopicPath(pub(super) TopicName);

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid = |why: String| Problem::of(ErrorCode::InvalidTopic, why);
        let Path(topic) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|e| invalid(e.body_text()))?;
        topic.parse().map(Self).map_err(|e| invalid(format!("{e}")))
    }
}
