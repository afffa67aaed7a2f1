//! Who asks, by the credentials of an HTTP request.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use super::question::known;
use crate::access::{Grant, RefusedToken};
use crate::hub::Hub;
use crate::inbox::Claim;
use crate::operation::Denied;
use crate::operation::admit::admit;

/// The grant of the `Authorization` header, or where there is none of the token in the query, or where
/// there is neither what anybody may.
///
/// # Errors
/// [`RefusedToken`], also where there is a header that holds no bearer's token: who brings credentials
/// does not want to be taken for a stranger. [`Denied`]: it cannot be found out.
pub(super) async fn grant(
    hub: &Hub,
    worker: usize,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Result<Arc<Grant>, RefusedToken>, Denied> {
    let token = match token(hub, headers, query) {
        Ok(token) => token,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let inbox = &hub.workers[worker].inbox;
    Ok(known(Claim::Stranger, inbox, |later| admit(&hub.access(), token, later)).await??)
}

fn token<'a>(
    hub: &Hub,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> Result<Option<&'a str>, RefusedToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    Ok(match (values.next(), values.next()) {
        _ if hub.access().is_open() => None,
        (None, _) => query.filter(|token| !token.is_empty()),
        (Some(value), None) => Some(bearer(value).ok_or(RefusedToken::Unknown)?),
        (Some(_), Some(_)) => return Err(RefusedToken::Unknown),
    })
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
