//! The topic that an address names.

use std::borrow::Cow;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;
use fanfare_protocol::{ErrorCode, TopicName};
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use super::query::verbatim;

/// The `{topic}` of a path, or `?topic=` where the path has none, percent-decoded and checked.
#[derive(Debug)]
pub(super) struct TopicPath(pub(super) TopicName);

impl TopicPath {
    /// The topic that stands in the path as it is written there, or where none stands there in the query.
    pub(super) fn written(of_path: Option<&str>, uri: &Uri) -> Result<Self, Problem> {
        let decode = |written| percent_decode_str(written).decode_utf8();
        let of_path = of_path.map(decode).transpose().map_err(|_| invalid("Invalid UTF-8 in `topic`"))?;
        Self::of(of_path.map(Cow::into_owned), uri)
    }

    fn of(of_path: Option<String>, uri: &Uri) -> Result<Self, Problem> {
        let name = match (of_path, verbatim(uri, "topic")?) {
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

fn invalid(why: impl Into<String>) -> Problem {
    Problem::of(ErrorCode::InvalidTopic, why)
}

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let of_path = match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => params.iter().find(|(key, _)| *key == "topic").map(|(_, value)| value.to_owned()),
            Err(RawPathParamsRejection::MissingPathParams(_)) => None,
            Err(e) => return Err(invalid(e.body_text())),
        };
        Self::of(of_path, &parts.uri)
    }
}
