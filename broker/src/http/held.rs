//! Answers that wait to be read.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use fanfare_protocol::ErrorCode;
use hyper::body::Body as _;

use super::problem::Problem;
use crate::budget::Charge;
use crate::hub::Hub;
use crate::relief::{AnswerGuard, Relief};

/// Bytes up to which answers are not worth counting: what the kernel holds is more.
const SMALL: u64 = 4 * 1024;

/// An answer's bytes, charged until the last of them is written.
struct ChargedBytes {
    bytes: Bytes,
    _charge: Charge,
    _guard: AnswerGuard,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The answer, or where the budget has no capacity for it, that there is none: for requests that do no harm if they
/// are sent again.
pub(super) fn if_there_is_capacity(hub: &Hub, response: Response) -> Response {
    match length(&response) {
        Some(length) if hub.in_flight.used() + length > hub.in_flight.limit() => {
            Problem::of(ErrorCode::Unavailable, "too much is on its way at the moment").into_response()
        }
        _ => response,
    }
}

/// Charges the answer to what is on its way, until the connection has written it or is given up.
pub(super) async fn charge(hub: &Hub, response: Response, connection: &Arc<Relief>) -> Response {
    let Some(length) = length(&response) else { return response };
    let charge = hub.in_flight.charge(length);
    let (head, body) = response.into_parts();
    // It is all there: every answer is made as a whole.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::of(ErrorCode::Internal, "the answer could not be made").into_response();
    };
    let _guard = hub.answers.enter(bytes.len(), Arc::clone(connection));
    Response::from_parts(head, Body::from(Bytes::from_owner(ChargedBytes { bytes, _charge: charge, _guard })))
}

/// Bytes of an answer that is worth counting.
fn length(response: &Response) -> Option<usize> {
    let length = response.body().size_hint().exact().filter(|length| *length > SMALL);
    length.map(|length| length as usize)
}
