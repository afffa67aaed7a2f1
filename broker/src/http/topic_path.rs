//! The topic that an address names.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use fanfare_protocol::{ErrorCode, TopicName};

use super::problem::Problem;
use super::query::verbatim;

/// The `{topic}` of a path, or `?topic=` where the path has none, percent-decoded and checked.
#[derive(Debug)]
pub(super) struct TopicPath(pub(super) TopicName);

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid = |why: String| Problem::of(ErrorCode::InvalidTopic, why);
        let of_path = match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => params.iter().find(|(key, _)| *key == "topic").map(|(_, value)| value.to_owned()),
            Err(RawPathParamsRejection::MissingPathParams(_)) => None,
            Err(e) => return Err(invalid(e.body_text())),
        };
        let name = match (of_path, verbatim(&parts.uri, "topic")?) {
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => return Err(Problem::of(ErrorCode::BadRequest, "?topic= is missing")),
            (Some(_), Some(_)) => {
                return Err(Problem::of(
                    ErrorCode::BadRequest,
                    "two topics, one in the path and one in the query",
                ));
            }
        };
        name.parse().map(Self).map_err(|e| invalid(format!("{e}")))
    }
}
