//! Who subscribes to a topic.

use fanfare_protocol::ErrorCode;

use super::Denied;

/// Why nobody is told.
pub(crate) fn not_offered() -> Denied {
    Denied::new(ErrorCode::BadRequest, "this server does not offer presence")
}
