//! A configured key, or set of keys, by which tokens may be signed.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use sha2::{Digest, Sha256};

use super::super::config::{JwtAlgorithm, JwtConfig};
use super::super::grant::End;
use super::super::refused::RefusedToken;
use super::claims::{self, Verified, Window};
use super::key_set::KeySet;
use crate::fetch::Target;
use crate::setting::InvalidSetting;

/// Shortest secret of HS256: RFC 7518 asks for as many bytes as the hash has.
const SECRET_BYTES_MIN: usize = 32;
/// Longest file with a key or a secret.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// Longest file with a set of keys, or of certificates.
const SET_BYTES_MAX: usize = 256 * 1024;

/// A configured key, or set of keys.
#[derive(Debug)]
pub(in crate::access) struct Entry {
    kid: Option<String>,
    validation: Validation,
    algorithm: Algorithm,
    pub(in crate::access) keys: Keys,
}

/// By what a token is verified.
#[derive(Debug)]
pub(in crate::access) enum Keys {
    /// One key.
    One(SigningKey),
    /// Those that are in a set now.
    Set(Arc<KeySet>),
}

/// A key by which tokens may be signed.
#[derive(Debug, Clone)]
pub(in crate::access) struct SigningKey {
    pub(super) key: DecodingKey,
    /// Set when it is no key of ours any more.
    pub(in crate::access) end: Arc<End>,
}

impl SigningKey {
    pub(super) fn new(key: DecodingKey) -> Self {
        Self { key, end: Arc::default() }
    }

    /// Whether it is the same key, whose ever it is.
    pub(in crate::access) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => hash.update(bytes),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                hash.update(n);
                hash.update(e);
            }
        }
        hash.finalize().into()
    }
}

impl JwtAlgorithm {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::HS256 => Algorithm::HS256,
            Self::RS256 => Algorithm::RS256,
            Self::ES256 => Algorithm::ES256,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

impl Entry {
    /// Reads a key.
    ///
    /// # Errors
    /// Names what is wrong, without quoting a secret.
    pub(super) fn new(config: &JwtConfig, window: Window) -> Result<Self, InvalidSetting> {
        let algorithm = config.algorithm.algorithm();
        let keys =
            read_keys(config).map_err(|(key, why)| InvalidSetting::new(format!("access.jwt.{key}"), why))?;
        for (key, text) in [("kid", &config.kid), ("issuer", &config.issuer), ("audience", &config.audience)]
        {
            if text.as_ref().is_some_and(String::is_empty) {
                return Err(InvalidSetting::new(format!("access.jwt.{key}"), "may be absent, but not empty"));
            }
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = window.leeway;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = &config.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Ok(Self { kid: config.kid.clone(), validation, algorithm, keys })
    }

    /// All its keys.
    pub(super) fn keys(&self) -> Vec<SigningKey> {
        match &self.keys {
            Keys::One(key) => vec![key.clone()],
            Keys::Set(set) => set.keys(),
        }
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is for tokens of that `issuer`, who is asked for only where that matters.
    pub(super) fn is_for_issuer<'t>(&self, issuer: impl FnOnce() -> Option<&'t str>) -> bool {
        let Some(issuers) = &self.validation.iss else { return true };
        issuer().is_some_and(|issuer| issuers.contains(issuer))
    }

    /// Whether it says the same of the same keys.
    pub(in crate::access) fn is_same(&self, other: &Self) -> bool {
        let is_same_key = match (&self.keys, &other.keys) {
            (Keys::One(one), Keys::One(other)) => one.is_same(other),
            (Keys::Set(one), Keys::Set(other)) => one.is_same(other),
            _ => false,
        };
        let (one, other_one) = (&self.validation, &other.validation);
        is_same_key
            && (self.algorithm, &self.kid) == (other.algorithm, &other.kid)
            && (&one.iss, &one.aud) == (&other_one.iss, &other_one.aud)
    }

    /// Has its set fetched soon, if it has one and no key of that id is in it.
    pub(super) fn ask(&self, kid: Option<&str>) {
        if let Keys::Set(set) = &self.keys {
            set.ask(kid);
        }
    }

    /// Verifies a token that may be by this key, or one of these.
    ///
    /// # Errors
    /// [`RefusedToken`].
    pub(super) fn verify(
        &self,
        token: &str,
        kid: Option<&str>,
        window: Window,
    ) -> Result<Verified, RefusedToken> {
        match &self.keys {
            Keys::One(SigningKey { key, end }) => claims::verify(token, key, end, &self.validation, window),
            Keys::Set(set) => {
                let SigningKey { key, end } = set.find(kid, window.jwks_max_age)?;
                claims::verify(token, &key, &end, &self.validation, window)
            }
        }
    }
}

/// Which key is wrong, and why.
type Wrong = (&'static str, String);

fn read_keys(config: &JwtConfig) -> Result<Keys, Wrong> {
    let JwtConfig { secret, secret_file, public_key_file, jwks_file, jwks_url, .. } = config;
    let has_secret = secret.is_some() || secret_file.is_some();
    let is_secret = config.algorithm == JwtAlgorithm::HS256;
    if has_secret && !is_secret {
        return Err(("algorithm", "a secret is for HS256 alone".into()));
    }
    if is_secret && (public_key_file.is_some() || jwks_file.is_some() || jwks_url.is_some()) {
        return Err(("algorithm", "HS256 has a secret: a public key must never be taken for one".into()));
    }
    if config.jwks_ca_file.is_some() && jwks_url.is_none() {
        return Err(("jwks_ca_file", "is for jwks_url alone".into()));
    }
    let one = |key: DecodingKey| Ok(Keys::One(SigningKey::new(key)));
    match (secret, secret_file, public_key_file, jwks_file, jwks_url) {
        (Some(secret), None, None, None, None) => one(secret_key("secret", secret.as_bytes())?),
        (None, Some(path), None, None, None) => {
            one(secret_key("secret_file", read("secret_file", path, KEY_BYTES_MAX)?.trim_ascii())?)
        }
        (None, None, Some(path), None, None) => {
            let pem = read("public_key_file", path, KEY_BYTES_MAX)?;
            one(public_key(config.algorithm, &pem)
                .map_err(|why| ("public_key_file", format!("{}: {why}", path.display())))?)
        }
        (None, None, None, Some(path), None) => {
            let text = read("jwks_file", path, SET_BYTES_MAX)?;
            let set = KeySet::of_file(config.algorithm, path, &text);
            Ok(Keys::Set(set.map_err(|why| ("jwks_file", format!("{}: {why}", path.display())))?))
        }
        (None, None, None, None, Some(url)) => {
            let target = target(url, config.jwks_ca_file.as_deref())?;
            Ok(Keys::Set(KeySet::of_url(config.algorithm, target)))
        }
        _ => {
            let why = "needs one of secret, secret_file, public_key_file, jwks_file or jwks_url";
            Err(("algorithm", why.into()))
        }
    }
}

fn target(url: &str, authorities: Option<&Path>) -> Result<Target, Wrong> {
    let target = Target::parse(url).map_err(|why| ("jwks_url", why.to_owned()))?;
    let Some(path) = authorities else { return Ok(target) };
    let pem = read("jwks_ca_file", path, SET_BYTES_MAX)?;
    target.trusting(&pem).map_err(|why| ("jwks_ca_file", format!("{}: {why}", path.display())))
}

fn read(key: &'static str, path: &Path, most: usize) -> Result<Vec<u8>, Wrong> {
    let bytes = std::fs::read(path).map_err(|e| (key, format!("{} cannot be read: {e}", path.display())))?;
    if bytes.len() > most {
        return Err((key, format!("{} is longer than {most} bytes", path.display())));
    }
    Ok(bytes)
}

fn secret_key(key: &'static str, secret: &[u8]) -> Result<DecodingKey, Wrong> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err((key, format!("is shorter than {SECRET_BYTES_MIN} bytes")));
    }
    if secret.starts_with(b"-----BEGIN") {
        return Err((key, "is a key in PEM, not a secret: what is public must not be one".into()));
    }
    DecodingKey::from_secret(secret).map_err(|_| (key, "is no secret".into()))
}

fn public_key(algorithm: JwtAlgorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Err("is a private key, which only those should have who sign".into());
    }
    if pem.windows(11).any(|window| window == b"CERTIFICATE") {
        return Err("is a certificate: take the public key out of it (openssl x509 -pubkey -noout)".into());
    }
    let key = match algorithm {
        JwtAlgorithm::RS256 => DecodingKey::from_rsa_pem(pem),
        JwtAlgorithm::ES256 => DecodingKey::from_ec_pem(pem),
        JwtAlgorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        JwtAlgorithm::HS256 => return Err("HS256 has no public key".into()),
    };
    let key = key.map_err(|_| format!("is no public key in PEM for {algorithm:?}"))?;
    check_size(&key, algorithm)?;
    Ok(key)
}

/// Refuses keys that nothing could be verified by, or that are too weak.
pub(super) fn check_size(key: &DecodingKey, algorithm: JwtAlgorithm) -> Result<(), String> {
    let is_good = match (algorithm, key.kind()) {
        // A key in DER has its modulus and a few bytes more.
        (JwtAlgorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => (256..=1100).contains(&der.len()),
        (JwtAlgorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            (256..=1024).contains(&n.len())
        }
        (JwtAlgorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65 && point[0] == 4,
        (JwtAlgorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    };
    let wanted = match algorithm {
        JwtAlgorithm::RS256 => "an RSA key of 2048 to 8192 bits",
        JwtAlgorithm::ES256 => "a key on the curve P-256",
        JwtAlgorithm::EdDSA => "a key of Ed25519",
        JwtAlgorithm::HS256 => "a secret",
    };
    if is_good { Ok(()) } else { Err(format!("is not {wanted}, which {algorithm:?} takes")) }
}
