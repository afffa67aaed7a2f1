//! Making signed tokens, for the command line and for tests: the broker itself makes none.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};

use super::super::config::{GrantConfig, JwtAlgorithm, JwtConfig};
use super::super::grant::Rights;
use super::super::tokens::check_user;
use super::claims::{Claims, Seconds};
use super::crypto;

/// What a new token is to say.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// Who its bearer is: `sub`.
    pub user: String,
    /// What its bearer may do: `fanfare`.
    pub grant: GrantConfig,
    /// How long it is to be good.
    pub ttl: Duration,
    /// Its id: `jti`.
    pub token_id: Option<String>,
    /// Who issues it: `iss`.
    pub issuer: Option<String>,
    /// Whom it is for: `aud`.
    pub audience: Option<String>,
    /// The id of the key that it is signed by.
    pub kid: Option<String>,
}

/// A key to sign tokens with.
#[derive(Debug)]
pub struct SigningSecret {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningSecret {
    /// A secret for HS256, or a private key in PEM (PKCS#8; for RS256 also PKCS#1).
    ///
    /// # Errors
    /// It is none for that algorithm.
    pub fn new(algorithm: JwtAlgorithm, bytes: &[u8]) -> Result<Self, String> {
        crypto::install();
        let (algorithm, key) = match algorithm {
            JwtAlgorithm::HS256 => (Algorithm::HS256, EncodingKey::from_secret(bytes)),
            JwtAlgorithm::RS256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(bytes)),
            JwtAlgorithm::ES256 => (Algorithm::ES256, EncodingKey::from_ec_pem(bytes)),
            JwtAlgorithm::EdDSA => (Algorithm::EdDSA, EncodingKey::from_ed_pem(bytes)),
        };
        let key = key.map_err(|_| format!("is no key to sign with by {algorithm:?}"))?;
        Ok(Self { algorithm, key })
    }

    /// The secret of a configured key, which has to be one of HS256. Reads its file.
    ///
    /// # Errors
    /// There is no secret, or it cannot be read.
    pub fn of_config(config: &JwtConfig) -> Result<Self, String> {
        match (&config.secret, &config.secret_file) {
            (Some(secret), None) => Self::new(JwtAlgorithm::HS256, secret.as_bytes()),
            (None, Some(path)) => {
                let bytes =
                    std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
                Self::new(JwtAlgorithm::HS256, bytes.trim_ascii())
            }
            _ => Err("it has no secret to sign with".into()),
        }
    }

    /// Signs a token that is good from now on.
    ///
    /// # Errors
    /// Nobody could use it: the user, or a pattern, is none. Or the key cannot sign.
    pub fn sign(&self, token: NewToken) -> Result<String, String> {
        let NewToken { user, grant, ttl, token_id, issuer, audience, kid } = token;
        check_user(&user).map_err(|what| format!("\"{}\" is no user: {what}", user.escape_debug()))?;
        Rights::parse(&grant).map_err(|(right, why)| format!("{}: {why}", right.as_str()))?;
        let now = get_current_timestamp();
        let claims = Claims {
            sub: user,
            exp: Seconds(now.saturating_add(ttl.as_secs())),
            iat: Some(Seconds(now)),
            jti: token_id,
            iss: issuer,
            aud: audience.map(Into::into),
            fanfare: Some(grant),
        };
        encode(&Header { kid, ..Header::new(self.algorithm) }, &claims, &self.key)
            .map_err(|_| "the key cannot sign".into())
    }
}
