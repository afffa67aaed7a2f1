//! Who somebody is, by the credentials that they bring.

use std::sync::Arc;

use fanfare_protocol::ErrorCode;

use super::Denied;
use crate::access::{Access, Grant, UnknownToken};
use crate::answer::Answer;
use crate::inbox::Later;

/// What the bearer of `token` may do; without one, what anybody may.
///
/// # Errors
/// Nobody is known by that token.
pub(crate) fn admit(
    access: &Access,
    token: Option<&str>,
    _later: Later<'_>,
) -> Answer<Result<Arc<Grant>, UnknownToken>> {
    Answer::Now(access.grant(token))
}

/// The grant of new credentials for somebody who has the `present` one: of the same user.
///
/// # Errors
/// Nobody, or somebody else, is known by that token.
pub(crate) fn refresh(
    access: &Access,
    present: &Grant,
    token: &str,
    later: Later<'_>,
) -> Answer<Result<Arc<Grant>, Denied>> {
    admit(access, Some(token), later).map(|known| {
        let grant = known.map_err(|unknown| Denied::new(ErrorCode::Unauthorized, unknown.to_string()))?;
        if grant.user != present.user {
            access.refused().with_label_values(&["refresh"]).inc();
            return Err(Denied::new(ErrorCode::Forbidden, "a refresh may not change the user"));
        }
        Ok(grant)
    })
}
