//! Who somebody is, by the credentials that they bring.

use std::sync::Arc;

use fanfare_protocol::ErrorCode;

use super::Denied;
use crate::access::{Access, Grant, RefusedToken};
use crate::answer::{Answer, Refusal};
use crate::inbox::Later;

/// What the bearer of `token` may do, or that nobody is known by it; without one, what anybody may.
///
/// # Errors
/// [`Refusal`]: it cannot be found out.
pub(crate) fn admit(
    access: &Access,
    token: Option<&str>,
    later: Later<'_>,
) -> Answer<Result<Result<Arc<Grant>, RefusedToken>, Refusal>> {
    access.find(token, later)
}

/// Whether somebody who has the `present` grant may bring other credentials: without a user there is nothing to refresh, for every
/// token is somebody's.
///
/// # Errors
/// [`Denied`], which is counted.
pub(crate) fn may_refresh(access: &Access, present: &Grant) -> Result<(), Denied> {
    if present.user.is_some() || access.is_open() {
        return Ok(());
    }
    access.count_refused("refresh");
    let why = "without credentials there are none to refresh: say who you are with \"connect\", or bring a token when you connect";
    Err(Denied::new(ErrorCode::Forbidden, why))
}

/// The grant of new credentials for somebody who has the `present` one: of the same user.
///
/// # Errors
/// Nobody, or somebody else, is known by that token, it cannot be found out, or there is nothing to refresh.
pub(crate) fn refresh(
    access: &Access,
    present: &Grant,
    token: &str,
    later: Later<'_>,
) -> Answer<Result<Arc<Grant>, Denied>> {
    if let Err(denied) = may_refresh(access, present) {
        return Answer::Now(Err(denied));
    }
    admit(access, Some(token), later).map(|known| {
        let grant = known?.map_err(|refused| Denied::new(ErrorCode::Unauthorized, refused.to_string()))?;
        if grant.user != present.user {
            access.count_refused("refresh");
            return Err(Denied::new(ErrorCode::Forbidden, "a refresh may not change the user"));
        }
        Ok(grant)
    })
}
