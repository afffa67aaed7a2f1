//! What anyone may ask, through whatever door: publish, subscribe, history, presence, and to be known.
//!
//! A grant is checked here and nowhere else. Each operation has a function that asks the grant and returns a leave, and
//! only with that leave can it be carried out, on the topic for which it was asked. Operations must not know by which
//! door somebody asks, nor how the answer is said.

pub(crate) mod admit;
pub(crate) mod limit;
pub(crate) mod list;
pub(crate) mod presence;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod subscribe;

use std::time::Duration;

use fanfare_protocol::ErrorCode;

use crate::access::Grant;
use crate::answer::Refusal;

/// The reason why an operation is refused: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// The time after which the same may be allowed at the earliest, where that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Denied {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// A refusal for want of a right to do `what`, such as "publish to this topic".
    fn of(grant: &Grant, what: &'static str) -> Self {
        let (code, message) = grant.refusal(what);
        Self::new(code, message)
    }
}

impl From<Refusal> for Denied {
    fn from(why: Refusal) -> Self {
        Self::new(why.code(), why.to_string())
    }
}

/// Refuses what is not allowed.
///
/// # Errors
/// [`Denied`], which is counted.
fn allowed(is_allowed: bool, grant: &Grant, what: &'static str) -> Result<(), Denied> {
    // A grant may be held for long: over a body that comes slowly, or a wait for credit.
    (is_allowed && !grant.is_over()).then_some(()).ok_or_else(|| Denied::of(grant, what))
}
