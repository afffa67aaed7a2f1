//! How often somebody may ask: whatever the door, each operation is taken out of the buckets of whoever asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::ErrorCode;

use super::Denied;
use crate::access::Grant;
use crate::address::AddressKey;
use crate::clock::Moment;
use crate::hub::{Hub, TooMany};
use crate::rate::kind::{Kind, Scope};
use crate::rate::limiter::{Limiter, Refused};
use crate::rate::shared::{Buckets, Key};
use crate::tally::Counted;

/// When to come again where nobody knows when there is room.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Something that is asked too often.
#[derive(Debug)]
pub(crate) struct TooOften {
    pub(crate) denied: Denied,
    /// Whether whoever asks goes on regardless, and had better go.
    pub(crate) is_flood: bool,
}

/// Takes one of that kind out of the buckets of whoever asks: of the address, where it is known, and of the bearer of the
/// grant, if there is one.
///
/// # Errors
/// [`TooOften`], which is counted: it is not to be carried out.
pub(crate) fn take(
    hub: &Hub,
    limiter: &mut Limiter,
    kind: Kind,
    now: Moment,
    address: impl Fn() -> Option<IpAddr>,
    grant: Option<&Grant>,
) -> Result<(), TooOften> {
    let config = hub.config();
    let find = |scope: Scope| {
        let key = match scope {
            Scope::Connection => return None,
            Scope::Ip => Key::Ip(AddressKey::of(address()?)),
            Scope::Token => Key::Token(grant?.static_token()?),
            Scope::User => Key::User(Arc::clone(grant?.user.as_ref()?)),
        };
        Some(hub.limits.buckets(key, now)) as Option<Arc<Buckets>>
    };
    limiter.take(kind, now, &config.limits.rate, find).map_err(|refused| {
        hub.limits.metrics.refused(kind, refused.scope);
        denied(kind, &refused)
    })
}

/// Counts a WebSocket of the grant's user, if there is one and those are limited, and takes it out of the buckets of its
/// user and token.
///
/// # Errors
/// [`Denied`]: there are as many as there may be, or they come too often.
pub(crate) fn admit(hub: &Hub, grant: &Grant) -> Result<Option<Counted<Arc<str>>>, Denied> {
    let counted = hub.limits.admit(&hub.config().limits, grant.user.as_ref());
    let counted = counted.map_err(|TooMany| too_many("your user has"))?;
    if !hub.config().limits.rate.is_none() {
        let mut limiter = Limiter::default();
        let taken = take(hub, &mut limiter, Kind::Connections, Moment::now(), || None, Some(grant));
        taken.map_err(|too_often| too_often.denied)?;
    }
    Ok(counted)
}

/// Counts a connection from that address, where those are limited, and takes it out of the bucket of the address.
///
/// # Errors
/// [`Denied`]: there are as many as there may be, or they come too often.
pub(crate) fn enter(hub: &Hub, address: IpAddr) -> Result<Option<Counted<AddressKey>>, Denied> {
    let counted = hub.limits.enter(&hub.config().limits, hub.connections_max(), address);
    let counted = counted.map_err(|TooMany| too_many("your address has"))?;
    if hub.config().limits.rate.connections_per_ip.0.is_some() {
        let mut limiter = Limiter::default();
        let taken = take(hub, &mut limiter, Kind::Connections, Moment::now(), || Some(address), None);
        taken.map_err(|too_often| too_often.denied)?;
    }
    Ok(counted)
}

fn too_many(who_has: &str) -> Denied {
    let message = format!("{who_has} as many connections as it may");
    Denied { retry_after: Some(COME_AGAIN), ..Denied::new(ErrorCode::RateLimited, message) }
}

fn denied(kind: Kind, Refused { scope, rate, after, is_flood }: &Refused) -> TooOften {
    let of = match scope {
        Scope::Connection => "this connection",
        Scope::Ip => "your address",
        Scope::Token => "your token",
        Scope::User => "your user",
    };
    // To the next millisecond, or whoever comes when told may come too early.
    let after = Duration::from_millis(after.as_nanos().div_ceil(1_000_000) as u64);
    let message = format!("too many {} of {of}: {rate} are allowed", kind.name());
    let denied = Denied { retry_after: Some(after), ..Denied::new(ErrorCode::RateLimited, message) };
    TooOften { denied, is_flood: *is_flood }
}
