//! Errors as `application/problem+json` (RFC 9457) with the protocol's codes.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fanfare_protocol::ErrorCode;
use serde::Serialize;

use crate::operation::Denied;

/// What went wrong with a request.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Problem(Box<Details>);

#[derive(Debug, Serialize)]
struct Details {
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self(Box::new(Details {
            title,
            status,
            code,
            detail: detail.into(),
            retry_after_ms: None,
            headers: Vec::new(),
        }))
    }

    /// A problem that one of the protocol's codes names.
    pub(super) fn of(code: ErrorCode, detail: impl Into<String>) -> Self {
        let status = match code {
            ErrorCode::BadRequest | ErrorCode::InvalidTopic | ErrorCode::NotSubscribed => {
                StatusCode::BAD_REQUEST
            }
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::LimitExceeded => StatusCode::CONFLICT,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Self::new(status, code.as_str(), detail);
        match status {
            StatusCode::UNAUTHORIZED => problem.with_header(header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                problem.with_header(header::RETRY_AFTER, "1")
            }
            _ => problem,
        }
    }

    /// Says the time after which the same may be allowed at the earliest: to the millisecond, and in seconds as HTTP has it.
    fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after_ms = Some(after.as_millis() as u64);
        self.0.headers.retain(|(name, _)| name != header::RETRY_AFTER);
        self.0
            .headers
            .push((header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000) as u64)));
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

impl From<Denied> for Problem {
    fn from(Denied { code, message, retry_after }: Denied) -> Self {
        let problem = Self::of(code, message);
        match retry_after {
            Some(after) => problem.with_retry_after(after),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).expect("a problem is plain data");
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.0.status, content_type, body).into_response();
        response.headers_mut().extend(self.0.headers);
        response
    }
}
