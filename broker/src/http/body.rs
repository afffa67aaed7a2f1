//! A request's body as a whole, and what it takes of the budget meanwhile.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use fanfare_protocol::ErrorCode;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::head::check_content_encoding;
use super::problem::Problem;
use crate::budget::Charge;
use crate::hub::Hub;

/// Bytes of a step in which the memory of a body grows and is charged.
const STEP: usize = 4 * 1024;

/// A body that has come to its end. It is charged as long as this is there.
#[derive(Debug)]
pub(super) struct ChargedBody {
    pub(super) bytes: Bytes,
    /// The moment when it was whole.
    pub(super) received: Instant,
    /// Its charge to what is on its way.
    _charge: Charge,
}

/// The whole body, if it is no larger than `limit`, comes in time, is not compressed, and the budget has
/// capacity for it.
pub(super) async fn read(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<ChargedBody, Problem> {
    check_content_encoding(headers)?;
    let message_timeout = hub.config().limits.message_timeout;
    let whole = tokio::time::timeout(message_timeout, collect(hub, body, limit)).await;
    whole.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "bad_request", "the body was not whole in time"))
    })
}

async fn collect(hub: &Hub, mut body: Body, limit: usize) -> Result<ChargedBody, Problem> {
    let too_large = || Problem::of(ErrorCode::TooLarge, format!("the body may have at most {limit} bytes"));
    let announced = hyper::body::Body::size_hint(&body);
    // Before anything of it is read, so that nobody is invited to send it in vain.
    if announced.lower() > limit as u64 {
        return Err(too_large());
    }
    let length_max = announced.upper().map_or(limit, |length| length as usize);
    let charge = hub.in_flight.charge(0);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|e| Problem::of(ErrorCode::BadRequest, format!("the body could not be read: {e}")))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        grow(&mut bytes, chunk.len(), length_max);
        bytes.extend_from_slice(&chunk);
        let held = bytes.capacity().next_multiple_of(STEP);
        if held > charge.bytes() {
            charge.set(held);
            if hub.in_flight.is_over() {
                return Err(Problem::of(ErrorCode::Unavailable, "too much is on its way at the moment"));
            }
        }
    }
    // Copied, and exactly so much: a part of the connection's buffer would keep all of it alive.
    let bytes = Bytes::from(bytes.into_boxed_slice());
    Ok(ChargedBody { bytes, received: Instant::now(), _charge: charge })
}

/// Makes the capacity larger for so much more, in proportion to what has come, not to what was announced.
fn grow(bytes: &mut Vec<u8>, more: usize, length_max: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let wanted = (2 * bytes.capacity()).max(STEP).min(length_max).max(needed);
        bytes.reserve_exact(wanted - bytes.len());
    }
}
