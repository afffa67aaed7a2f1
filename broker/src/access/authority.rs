//! Where it is found out whose a token is: the seam for other authorities.

use super::TokenHash;
use super::delayed::DelayedAuthority;
use crate::answer::{Answer, Refusal};
use crate::inbox::Later;

/// Where it is found out whose a token is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Authority {
    /// The configuration says it.
    Configured,
    /// Asked elsewhere, for tests.
    #[doc(hidden)]
    Delayed(DelayedAuthority),
}

impl Authority {
    /// Sees to it that it is known whose a token is, before its grant is looked up. Waits for nobody: an authority that has to ask
    /// elsewhere says `later` when to ask again.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be found out.
    pub(super) fn find(
        &self,
        token: TokenHash,
        is_somebodys: bool,
        later: Later<'_>,
    ) -> Answer<Result<(), Refusal>> {
        match self {
            Self::Configured => Answer::Now(Ok(())),
            Self::Delayed(authority) => authority.find(token, is_somebodys, later),
        }
    }
}
