//! Telling who subscribes to a topic, which is not offered yet.

use fanfare_protocol::ErrorCode;

use super::Denied;

/// The refusal that everybody gets who asks for it.
pub(crate) fn not_offered() -> Denied {
    Denied::new(ErrorCode::BadRequest, "this server does not offer presence")
}
