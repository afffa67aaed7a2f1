//! Signed tokens (JWT): whose they are, by which key, and what they grant.
//!
//! Nothing that a token says counts before its signature is verified, but for which of the configured keys are tried.

mod claims;
mod crypto;
mod entry;
mod jwks;
mod key_set;
pub(crate) mod mint;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::decode_header;

use super::config::AccessConfig;
use super::refused::RefusedToken;
use super::tokens::TOKEN_BYTES_MAX;
use crate::setting::InvalidSetting;
pub(super) use claims::Verified;
use claims::{ClaimedIssuer, Window};
pub(super) use entry::{Entry, Keys, SigningKey};
pub(crate) use key_set::KeySet;

/// Keys and key sets that may be configured: a token without the id of its key is tried by all of them.
const ENTRIES_MAX: usize = 32;
/// Longest leeway and longest lifetime: more than that nobody means.
const LEEWAY_MAX: Duration = Duration::from_secs(60 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// Longest time for which a set of keys may count that cannot be fetched any more.
const JWKS_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// All keys by which tokens may be signed.
#[derive(Debug, Default)]
pub(super) struct Jwts {
    entries: Vec<Entry>,
    pub(super) window: Window,
}

impl Jwts {
    /// Reads the keys of a configuration.
    ///
    /// # Errors
    /// Names what is wrong, without quoting a secret.
    pub(super) fn new(config: &AccessConfig) -> Result<Self, InvalidSetting> {
        if config.jwt.len() > ENTRIES_MAX {
            return Err(InvalidSetting::new("access.jwt", format!("there may be {ENTRIES_MAX} at most")));
        }
        if config.leeway > LEEWAY_MAX {
            return Err(InvalidSetting::new("access.leeway", "may be 1h at most"));
        }
        if config.lifetime_max.is_zero() || config.lifetime_max > LIFETIME_MAX {
            return Err(InvalidSetting::new("access.lifetime_max", "must be above 0s, and 10 years at most"));
        }
        if config.jwks_max_age.is_zero() || config.jwks_max_age > JWKS_AGE_MAX {
            return Err(InvalidSetting::new("access.jwks_max_age", "must be above 0s, and 30 days at most"));
        }
        if !config.jwt.is_empty() {
            crypto::install();
        }
        let window = Window {
            leeway: config.leeway.as_secs(),
            lifetime_max: config.lifetime_max.as_secs(),
            jwks_max_age: config.jwks_max_age,
        };
        let entries: Vec<_> =
            config.jwt.iter().map(|jwt| Entry::new(jwt, window)).collect::<Result<_, _>>()?;
        let is_twice =
            |(nth, entry): (usize, &Entry)| entries[..nth].iter().any(|other| other.is_same(entry));
        if entries.iter().enumerate().any(is_twice) {
            return Err(InvalidSetting::new("access.jwt", "two of them are the same"));
        }
        Ok(Self { entries, window })
    }

    /// Whether nobody may sign tokens.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys, those in sets among them.
    pub(super) fn keys(&self) -> impl Iterator<Item = SigningKey> {
        self.entries.iter().flat_map(Entry::keys)
    }

    /// The sets among them.
    fn sets(&self) -> impl Iterator<Item = &Arc<KeySet>> {
        self.entries.iter().filter_map(|entry| match &entry.keys {
            Keys::One(_) => None,
            Keys::Set(set) => Some(set),
        })
    }

    /// The sets that are to be fetched.
    pub(super) fn fetched_sets(&self) -> impl Iterator<Item = &Arc<KeySet>> {
        self.sets().filter(|set| set.target().is_some())
    }

    /// Goes on with those keys of older ones that are the same, and with their grants where these `are_same` too. What was
    /// fetched is there at once.
    pub(super) fn succeed(&mut self, older: &Self, are_same: bool) {
        for entry in &mut self.entries {
            let same = older.entries.iter().find(|old| are_same && old.is_same(entry));
            match (&mut entry.keys, same.map(|old| &old.keys)) {
                (Keys::One(key), Some(Keys::One(old))) => *key = old.clone(),
                // It is fetched already, and goes on so.
                (Keys::Set(set), Some(Keys::Set(old))) if set.target().is_some() => *set = Arc::clone(old),
                (Keys::Set(set), Some(Keys::Set(old))) => set.succeed(old),
                (Keys::Set(set), _) if set.target().is_some() => {
                    if let Some(old) = older.sets().find(|old| old.is_same(set)) {
                        set.begin_with(old);
                    }
                }
                _ => {}
            }
        }
    }

    /// Ends the keys that a `successor` does not have. Those that it has otherwise go on as what they are there, as long as tokens
    /// by them are held against the same.
    pub(super) fn retire(&self, successor: &Self) {
        self.end_sets(successor);
        for entry in &self.entries {
            let same = successor.entries.iter().find(|other| other.is_same(entry));
            for key in entry.keys() {
                let of_same = same.and_then(|same| same.keys().into_iter().find(|other| other.is_same(&key)));
                match of_same {
                    Some(other) if Arc::ptr_eq(&other.end, &key.end) => {}
                    Some(other) => key.end.go_on_as(&other.end),
                    None if successor.keys().any(|other| other.is_same(&key)) => key.end.supersede(),
                    None => key.end.revoke(),
                }
            }
        }
    }

    /// Has the sets take nothing any more that the `successor` does not have.
    fn end_sets(&self, successor: &Self) {
        let is_there = |set: &Arc<KeySet>| successor.sets().any(|other| Arc::ptr_eq(other, set));
        self.sets().filter(|set| !is_there(set)).for_each(|set| set.end());
    }

    /// Who the token is of, and what it grants. Costs the verification of a signature for each key that it may be by: one of the
    /// id and the issuer that it names.
    ///
    /// # Errors
    /// [`RefusedToken`].
    pub(super) fn verify(&self, token: &str) -> Result<Verified, RefusedToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(RefusedToken::TooLarge);
        }
        let head = decode_header(token).map_err(|_| RefusedToken::Malformed)?;
        let kid = head.kid.as_deref();
        let issuer = OnceCell::new();
        let issuer =
            || issuer.get_or_init(|| insecure_decode_claims::<ClaimedIssuer>(token).ok()?.iss).as_deref();
        let of_algorithm = || self.entries.iter().filter(|entry| entry.algorithm() == head.alg);
        let of_issuer = || of_algorithm().filter(|entry| entry.is_for_issuer(issuer));
        let is_named = kid.is_some() && of_issuer().any(|entry| entry.kid() == kid);
        // A key that the token names goes before those without a name.
        let may_be =
            |entry: &Entry| kid.is_none() || entry.kid() == kid || entry.kid().is_none() && !is_named;
        let is_of_nobody = of_algorithm().next().is_some() && of_issuer().next().is_none();
        let mut refused = if is_of_nobody { RefusedToken::Issuer } else { RefusedToken::Algorithm };
        for entry in of_issuer() {
            let verified =
                if may_be(entry) { entry.verify(token, kid, self.window) } else { Err(RefusedToken::Key) };
            match verified {
                Ok(verified) => return Ok(verified),
                Err(why) if why.progress() >= refused.progress() => refused = why,
                Err(_) => {}
            }
        }
        // It may be by a key that has come since, and of which nobody else knew.
        if matches!(refused, RefusedToken::Key | RefusedToken::KeysMissing) {
            of_issuer().filter(|entry| may_be(entry)).for_each(|entry| entry.ask(kid));
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests;
