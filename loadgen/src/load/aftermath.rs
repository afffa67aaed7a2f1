//! How long to go on when all seems to be there.

use std::time::Duration;

/// How long to go on reading when all is there: it might come twice.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(50);
/// How long after the last publication was due, where something came that should not have, or not so; and the most
/// that a slow broker gets.
pub(crate) const AFTERMATH_SUSPICIOUS: Duration = Duration::from_secs(1);
