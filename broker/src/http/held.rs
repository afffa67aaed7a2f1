//! Answers that wait to be read.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use fanfare_protocol::ErrorCode;
use hyper::body::Body as _;

use super::problem::Problem;
use super::relief::{Entered, Relief};
use crate::budget::Charge;
use crate::hub::Hub;

/// Smaller answers are not worth counting: what the kernel holds is more.
const SMALL: u64 = 4 * 1024;

/// An answer's bytes, charged until the last of them is written.
struct Held {
    bytes: Bytes,
    _charge: Charge,
    _entered: Option<Entered>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Charges the answer to what is on its way. One that `may_be_refused`, because asking again does no harm,
/// is replaced where there is no room for it.
pub(super) async fn charge(
    hub: &Hub,
    response: Response,
    may_be_refused: bool,
    connection: Option<Arc<Relief>>,
) -> Response {
    let Some(length) = response.body().size_hint().exact().filter(|length| *length > SMALL) else {
        return response;
    };
    let charge = hub.in_flight.charge(length as usize);
    if may_be_refused && hub.in_flight.is_over() {
        return Problem::of(ErrorCode::Unavailable, "too much is on its way at the moment").into_response();
    }
    let (head, body) = response.into_parts();
    // It is all there: every answer is made as a whole.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::of(ErrorCode::Internal, "the answer could not be made").into_response();
    };
    let _entered = connection.map(|connection| hub.answers.enter(bytes.len(), connection));
    Response::from_parts(head, Body::from(Bytes::from_owner(Held { bytes, _charge: charge, _entered })))
}
