//! Who may do what, as it is configured: the section `access`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::setting::InvalidSetting;

/// How long before its token expires a peer is told, if the configuration does not say.
pub(crate) const EXPIRY_NOTICE: Duration = Duration::from_secs(30);

/// Longest notice that makes sense.
const EXPIRY_NOTICE_MAX: Duration = Duration::from_secs(86_400);

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// How long before its token expires a peer is told, but never more than half of the time that is left.
    #[serde(with = "humantime_serde")]
    pub expiry_notice: Duration,
    /// The cookie that may hold a token, for WebSockets of pages of the own host or a listed origin; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// What those may do who bring no credentials.
    pub anonymous: GrantConfig,
    /// What those may do who bring good ones, whatever these grant beside.
    pub authenticated: GrantConfig,
    /// How far the clocks of those who sign tokens may be off.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// How long a signed token may have left when it is brought.
    #[serde(with = "humantime_serde")]
    pub lifetime_max: Duration,
    /// How long a set of keys from a URL counts after it was fetched last.
    #[serde(with = "humantime_serde")]
    pub jwks_max_age: Duration,
    /// What the bearers of tokens may do.
    pub token: Vec<TokenConfig>,
    /// Who signs tokens, and how.
    pub jwt: Vec<JwtConfig>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            anonymous: GrantConfig::default(),
            authenticated: GrantConfig::default(),
            expiry_notice: EXPIRY_NOTICE,
            cookie: None,
            leeway: Duration::from_secs(5),
            lifetime_max: Duration::from_secs(30 * 24 * 60 * 60),
            jwks_max_age: Duration::from_secs(24 * 60 * 60),
            token: Vec::new(),
            jwt: Vec::new(),
        }
    }
}

impl AccessConfig {
    /// An example in which everything is that can be configured, for the names and kinds of its keys; but what is
    /// secret is never written out.
    #[doc(hidden)]
    pub fn example() -> Self {
        let some = || Some("text".to_owned());
        let file = || Some(PathBuf::from("file"));
        let all = || Some(Vec::new());
        let grant = || GrantConfig { presence: all(), history: all(), ..GrantConfig::default() };
        let token = TokenConfig {
            token_file: file(),
            token_sha256: some(),
            presence: all(),
            history: all(),
            ..TokenConfig::default()
        };
        let jwt = JwtConfig {
            kid: some(),
            issuer: some(),
            audience: some(),
            secret_file: file(),
            public_key_file: file(),
            jwks_file: file(),
            jwks_url: some(),
            jwks_ca_file: file(),
            ..JwtConfig::default()
        };
        Self {
            anonymous: grant(),
            authenticated: grant(),
            token: vec![token],
            jwt: vec![jwt],
            cookie: some(),
            ..Self::default()
        }
    }

    /// # Errors
    /// Names what is out of range.
    pub(crate) fn check(&self) -> Result<(), InvalidSetting> {
        let wrong = |key: &str, why: &str| Err(InvalidSetting::new(format!("access.{key}"), why));
        if self.expiry_notice > EXPIRY_NOTICE_MAX {
            return wrong("expiry_notice", "expected at most 1day");
        }
        // A token of RFC 9110, section 5.6.2.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.cookie.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(is_name)) {
            return wrong(
                "cookie",
                "expected a cookie's name, as in \"session\": letters, digits and !#$%&'*+-.^_`|~",
            );
        }
        Ok(())
    }
}

/// Topic patterns: `*`, `room:*` or a name, in which `{user}` is the id of whoever asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct GrantConfig {
    /// What may be subscribed to.
    pub subscribe: Vec<String>,
    /// What may be published to.
    pub publish: Vec<String>,
    /// Whose subscribers may be seen; absent: of what may be subscribed to.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub presence: Option<Vec<String>>,
    /// Whose history may be read; absent: of what may be subscribed to.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub history: Option<Vec<String>>,
}

/// What is there is a list: a `null` in a token may have been meant as none at all, which absence is not.
fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

/// A token and what its bearer may do.
#[derive(Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Who its bearer is.
    pub user: String,
    /// The token itself.
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// A file that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The SHA-256 of the token, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// What may be subscribed to.
    pub subscribe: Vec<String>,
    /// What may be published to.
    pub publish: Vec<String>,
    /// Whose subscribers may be seen; absent: of what may be subscribed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<Vec<String>>,
    /// Whose history may be read; absent: of what may be subscribed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<String>>,
}

impl TokenConfig {
    /// What its bearer may do.
    pub(super) fn grant(&self) -> GrantConfig {
        GrantConfig {
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            presence: self.presence.clone(),
            history: self.history.clone(),
        }
    }
}

/// Leaves the token out.
impl std::fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenConfig").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    #[default]
    HS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Who signs tokens: one key, or a set of keys.
#[derive(Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// How they are signed, whatever they say themselves.
    pub algorithm: JwtAlgorithm,
    /// The id that tokens call the key by; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Who is to have issued them; absent: whoever has the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whom they are to be for; absent: they may not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The secret of HS256.
    #[serde(skip_serializing)]
    pub secret: Option<String>,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// A file with the public key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
    /// A file with a set of public keys (JWKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Where a set of public keys (JWKS) is fetched: `https://`, or `http://` on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A file with the certificate authorities to trust there, in PEM; absent: those of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_ca_file: Option<PathBuf>,
}

/// Leaves the secret out.
impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtConfig").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
