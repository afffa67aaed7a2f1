//! The format of key sets: JWKS, RFC 7517.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::super::config::JwtAlgorithm;
use super::entry::{SigningKey, check_size};

/// Keys of one set.
const KEYS_MAX: usize = 64;

/// The keys of a set that can be used with its algorithm, by their ids.
pub(super) type KeysById = HashMap<Box<str>, SigningKey>;

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
pub(super) fn parse(algorithm: JwtAlgorithm, text: &[u8]) -> Result<KeysById, String> {
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
