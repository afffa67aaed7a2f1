//! What a signed token says of itself: who it is from, which one it is, until when it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grant::{End, GrantEnd};
use super::revocations::Revocations;
use crate::clock::Uptime;

/// What a grant knows of the token that it comes from.
#[derive(Debug)]
pub(super) struct Issue {
    /// When it expires, the leeway counted in: made from the date when the token was brought, so that a clock that
    /// is set later changes nothing.
    pub(super) expires_at: Uptime,
    pub(super) expires_at_unix: u64,
    /// Bytes of what the token grants and says of itself.
    pub(super) bytes: usize,
    pub(super) token_id: Option<Box<str>>,
    /// Unix seconds.
    pub(super) issued_at: Option<u64>,
    /// Whether the key is still one that counts.
    pub(super) key: Arc<End>,
    pub(super) revocations: Arc<Revocations>,
    /// The revocations that it was held against already.
    pub(super) checked: AtomicU64,
}

impl Issue {
    /// The same of a token whose key goes on as that one.
    pub(super) fn by(&self, key: &Arc<End>) -> Self {
        Self {
            expires_at: self.expires_at,
            expires_at_unix: self.expires_at_unix,
            bytes: self.bytes,
            token_id: self.token_id.clone(),
            issued_at: self.issued_at,
            key: Arc::clone(key),
            revocations: Arc::clone(&self.revocations),
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
        }
    }

    /// Why the token counts no more, if it was taken back. As long as nothing is revoked that is two loads.
    pub(super) fn taken_back(&self, user: Option<&str>) -> Option<GrantEnd> {
        let of_key = self.key.get();
        let generation = self.revocations.generation();
        if of_key == Some(GrantEnd::Revoked) || self.checked.load(Ordering::Relaxed) == generation {
            return of_key;
        }
        if self.revocations.concern(user, self.token_id.as_deref(), self.issued_at) {
            return Some(GrantEnd::Revoked);
        }
        self.checked.store(generation, Ordering::Relaxed);
        of_key
    }
}
