//! Who makes a request, as far as limits go.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::access::Grant;
use crate::address::AddressKey;
use crate::address::forwarded::client_address;
use crate::clock::Moment;
use crate::connection::request::Client;
use crate::hub::Hub;
use crate::operation::limit;
use crate::rate::kind::Kind;
use crate::rate::limiter::Limiter;
use crate::tally::Counted;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Where it is, or, where a proxy that is trusted has said so at its begin, the client that it brings.
    pub(super) address: IpAddr,
    /// Whether it is what the proxy has said, and not where the socket's other end is.
    pub(super) is_proxied: bool,
}

/// Whoever makes a request. Where nothing is limited and no proxy trusted, nothing is known of it, nor asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asker(Option<Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    address: IpAddr,
    /// Whether it is not where the socket's other end is.
    is_forwarded: bool,
    /// Whether only the head of the request has told the address, so that it does not count among those of it yet.
    is_uncounted: bool,
}

impl Asker {
    /// Finds out who asks, if that is of interest; takes the request out of the bucket of the address.
    ///
    /// # Errors
    /// [`Problem`]: the address asks too often.
    pub(super) fn look_at<B>(hub: &Hub, peer: Peer, request: &mut Request<B>) -> Result<(), Problem> {
        let config = hub.config();
        let server = &config.server;
        if server.trusted_proxies.is_empty() && config.limits.rate.is_none() {
            return Ok(());
        }
        let headers = request.headers();
        let address = client_address(peer.address, &server.trusted_proxies, server.forwarded_header, headers);
        let is_uncounted = address != peer.address.to_canonical();
        let known = Known { address, is_forwarded: peer.is_proxied || is_uncounted, is_uncounted };
        let this = Self(Some(known));
        request.extensions_mut().insert(this);
        this.take(hub, Kind::Frames, None)
    }

    /// Takes one of that kind out of the buckets of the address, or where a grant is given of its bearer and, but for a
    /// frame, which was taken out of it with the head, of the address.
    ///
    /// # Errors
    /// [`Problem`]: it is asked too often, and is not to be carried out.
    pub(super) fn take(self, hub: &Hub, kind: Kind, grant: Option<&Grant>) -> Result<(), Problem> {
        if hub.config().limits.rate.is_none() {
            return Ok(());
        }
        let is_taken = kind == Kind::Frames && grant.is_some();
        let address = || self.0.map(|known| known.address).filter(|_| !is_taken);
        let taken = limit::take(hub, &mut Limiter::default(), kind, Moment::now(), address, grant);
        taken.map_err(|too_often| too_often.denied.into())
    }

    /// What is known of the client of a WebSocket, which counts among those of its address and its user.
    ///
    /// # Errors
    /// [`Problem`]: there are as many as there may be, or they come too often.
    pub(super) fn admit(self, hub: &Hub, grant: Option<&Grant>) -> Result<Client, Problem> {
        let by_address = match self.0 {
            Some(Known { address, is_uncounted: true, .. }) => limit::enter(hub, address)?,
            _ => None,
        };
        let by_user = match grant {
            Some(grant) => limit::admit(hub, grant)?,
            None => None,
        };
        let forwarded = self.0.filter(|known| known.is_forwarded).map(|known| known.address);
        let by_address = by_address.map(Arc::<Counted<AddressKey>>::new);
        Ok(Client { forwarded, by_address, by_user: by_user.map(Arc::new) })
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}
