//! A set of public keys (JWKS, RFC 7517), from a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::super::config::JwtAlgorithm;
use super::super::refused::RefusedToken;
use super::entry::{SigningKey, check_size};

/// Keys of one set.
const KEYS_MAX: usize = 64;

/// The keys of a set that can be used with its algorithm, by their ids.
type KeysById = HashMap<Box<str>, SigningKey>;

/// A set of public keys, and where it is from. What it is cached by is its entry in the configuration, so that the id of a key
/// means nothing outside of that.
#[derive(Debug)]
pub(in crate::access) struct KeySet {
    algorithm: JwtAlgorithm,
    source: Source,
    keys: ArcSwap<KeysById>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
}

impl KeySet {
    /// The set that is written in a file.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub(super) fn of_file(algorithm: JwtAlgorithm, path: &Path, text: &[u8]) -> Result<Arc<Self>, String> {
        let keys = ArcSwap::from_pointee(parse(algorithm, text)?);
        Ok(Arc::new(Self { algorithm, source: Source::File(path.to_owned()), keys }))
    }

    /// The key of that id; where a token names none and there is only one, that.
    ///
    /// # Errors
    /// [`RefusedToken`]: there is none.
    pub(super) fn find(&self, kid: Option<&str>) -> Result<SigningKey, RefusedToken> {
        let keys = self.keys.load();
        let found = match kid {
            Some(kid) => keys.get(kid),
            None if keys.len() == 1 => keys.values().next(),
            None => None,
        };
        found.cloned().ok_or(RefusedToken::Key)
    }

    /// Whether it is from the same source.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.algorithm == other.algorithm
    }

    /// Goes on with those keys of an older set that are in it as well, and so with their grants.
    pub(in crate::access) fn succeed(&self, older: &Self) {
        let mut keys = KeysById::clone(&self.keys.load());
        let old = older.keys.load();
        for (kid, key) in &mut keys {
            if let Some(old) = old.get(kid).filter(|old| old.is_same(key)) {
                *key = old.clone();
            }
        }
        self.keys.store(Arc::new(keys));
    }

    /// The keys that are in it now.
    pub(in crate::access) fn keys(&self) -> Vec<SigningKey> {
        self.keys.load().values().cloned().collect()
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// The key, if it is one for that algorithm.
    fn read(&self, algorithm: JwtAlgorithm) -> Option<DecodingKey> {
        let is_for_signatures = self.r#use.as_ref().is_none_or(|purpose| purpose == "sig");
        let is_for_algorithm = self.alg.as_ref().is_none_or(|alg| {
            *alg == format!("{algorithm:?}") || algorithm == JwtAlgorithm::EdDSA && alg == "Ed25519"
        });
        if !is_for_signatures || !is_for_algorithm {
            return None;
        }
        let curve = self.crv.as_deref();
        let key = match (algorithm, self.kty.as_str()) {
            (JwtAlgorithm::RS256, "RSA") => {
                DecodingKey::from_rsa_components(self.n.as_ref()?, self.e.as_ref()?)
            }
            (JwtAlgorithm::ES256, "EC") if curve == Some("P-256") => {
                DecodingKey::from_ec_components(self.x.as_ref()?, self.y.as_ref()?)
            }
            (JwtAlgorithm::EdDSA, "OKP") if curve == Some("Ed25519") => {
                DecodingKey::from_ed_components(self.x.as_ref()?)
            }
            _ => return None,
        };
        key.ok().filter(|key| check_size(key, algorithm).is_ok())
    }
}

/// The keys of a set that can be used with that algorithm; the others are for somebody else. A key without an id has the empty
/// one.
///
/// # Errors
/// Says why the set cannot be used: there must be a key in it that can.
fn parse(algorithm: JwtAlgorithm, text: &[u8]) -> Result<KeysById, String> {
    let Set { keys } = serde_json::from_slice(text).map_err(|_| "is no key set (JWKS)")?;
    if keys.len() > KEYS_MAX {
        return Err(format!("holds more than {KEYS_MAX} keys"));
    }
    let mut by_id = KeysById::new();
    for key in keys {
        let Ok(key) = Key::deserialize(key) else { continue };
        let Some(usable) = key.read(algorithm) else { continue };
        let kid = key.kid.unwrap_or_default();
        if by_id.insert(kid.into(), SigningKey::new(usable)).is_some() {
            return Err("holds two keys of the same id".into());
        }
    }
    if by_id.is_empty() {
        return Err(format!("holds no key for {algorithm:?}"));
    }
    Ok(by_id)
}
