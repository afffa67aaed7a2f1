//! Taking tokens back, and what was taken back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use fanfare_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::control::{PageQuery, queried};
use crate::access::{Revocation, RevocationError};
use crate::control::page_size;
use crate::http::api::{json, problem};
use crate::http::body;
use crate::http::problem::Problem;
use crate::hub::Hub;

/// Bytes of a request: a user or an id, and as much around it as anybody needs.
const BODY_MAX: usize = 4 * 1024;

/// What is to be revoked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationBody {
    user: Option<String>,
    jti: Option<String>,
    /// Unix seconds.
    issued_before: Option<u64>,
}

impl RevocationBody {
    fn of(revocation: Revocation) -> Self {
        let none = Self { user: None, jti: None, issued_before: None };
        match revocation {
            Revocation::User { user, issued_before } => Self { user: Some(user), issued_before, ..none },
            Revocation::TokenId(jti) => Self { jti: Some(jti), ..none },
            Revocation::IssuedBefore(time) => Self { issued_before: Some(time), ..none },
        }
    }

    fn revocation(self) -> Result<Revocation, Problem> {
        match self {
            Self { user: Some(user), jti: None, issued_before } => {
                Ok(Revocation::User { user, issued_before })
            }
            Self { user: None, jti: Some(jti), issued_before: None } => Ok(Revocation::TokenId(jti)),
            Self { user: None, jti: None, issued_before: Some(time) } => Ok(Revocation::IssuedBefore(time)),
            _ => Err(problem(
                ErrorCode::BadRequest,
                "expected {\"user\":..}, {\"jti\":..} or {\"issued_before\":..}; of these only user and issued_before go together",
            )),
        }
    }
}

/// `POST /v1/revocations`: takes tokens back, at once.
pub(super) async fn revoke(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(&hub, &headers, body, BODY_MAX).await?;
    let body: RevocationBody = serde_json::from_slice(&body.bytes)
        .map_err(|e| problem(ErrorCode::BadRequest, format!("the body is no revocation: {e}")))?;
    let revocation = body.revocation()?;
    hub.revoke(&revocation).map_err(|why| match why {
        RevocationError::Nobody | RevocationError::Future => problem(ErrorCode::BadRequest, why),
        _ => Problem::new(StatusCode::CONFLICT, ErrorCode::LimitExceeded.as_str(), why.to_string()),
    })?;
    said(&revocation);
    Ok(json(&serde_json::json!({ "revoked": true })))
}

/// Says what was taken back, and by which of its kinds; a token itself nobody has said.
fn said(revocation: &Revocation) {
    const WHAT: &str = "tokens were revoked by an operator";
    match revocation {
        Revocation::User { user, issued_before } => {
            tracing::info!(kind = "user", user, issued_before, "{WHAT}");
        }
        Revocation::TokenId(jti) => tracing::info!(kind = "jti", jti, "{WHAT}"),
        Revocation::IssuedBefore(time) => {
            tracing::info!(kind = "issued_before", issued_before = time, "{WHAT}");
        }
    }
}

/// Something that was revoked, as the API tells it.
#[derive(Debug, Serialize)]
struct RevokedBody {
    #[serde(flatten)]
    revocation: RevocationBody,
    /// For how long it is yet remembered.
    remembered_s: u64,
}

#[derive(Debug, Serialize)]
struct RevocationsBody {
    revocations: Vec<RevokedBody>,
    /// Asks for the next page; null after the last one.
    cursor: Option<String>,
}

/// `GET /v1/revocations`: what was taken back and is remembered, a page at a time.
pub(super) async fn revocations(
    State(hub): State<Arc<Hub>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let PageQuery { limit, cursor } = queried(query)?;
    let limit = page_size(limit);
    // One more than there may be says whether there is another page.
    let mut revoked = hub.access().revoked(cursor.as_deref(), limit + 1);
    let has_more = revoked.len() > limit;
    revoked.truncate(limit);
    let cursor = revoked.last().filter(|_| has_more).map(|(revocation, _)| revocation.cursor());
    let revocations = revoked.into_iter().map(|(revocation, left)| RevokedBody {
        revocation: RevocationBody::of(revocation),
        remembered_s: left.as_secs(),
    });
    Ok(json(&RevocationsBody { revocations: revocations.collect(), cursor }))
}
