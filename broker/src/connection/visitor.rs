//! What is known of whoever is at the other end, as far as limits go. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use super::request::Client;
use crate::rate::limiter::Limiter;
use crate::tally::Counted;

/// Whoever is at the other end. Of one that no proxy has brought and nothing limits, it holds no memory but a pointer.
#[derive(Debug, Default)]
pub(super) struct Visitor(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
    client: Client,
    limiter: Limiter,
}

impl Visitor {
    pub(super) fn new(client: Client) -> Self {
        Self((!client.is_plain()).then(|| Box::new(Known { client, limiter: Limiter::default() })))
    }

    /// The address, where it is not that of the socket's other end.
    pub(super) fn forwarded(&self) -> Option<IpAddr> {
        self.0.as_ref()?.client.forwarded
    }

    /// The buckets from which it takes what it does.
    pub(super) fn limiter(&mut self) -> &mut Limiter {
        &mut self.0.get_or_insert_default().limiter
    }

    /// Its credentials are others now, of the same user.
    pub(super) fn change_bearer(&mut self) {
        if let Some(known) = &mut self.0 {
            known.limiter.forget_bearer();
        }
    }

    /// Its credentials are another user's now, among whose it counts where those are limited.
    pub(super) fn admit(&mut self, by_user: Option<Counted<Arc<str>>>) {
        self.change_bearer();
        if let Some(known) = &mut self.0 {
            known.client.by_user = None;
        }
        if let Some(counted) = by_user {
            self.0.get_or_insert_default().client.by_user = Some(Arc::new(counted));
        }
    }
}
