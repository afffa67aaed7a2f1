//! What a token claims, once its signature is verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};

use super::super::config::GrantConfig;
use super::super::grant::{End, Rights};
use super::super::refused::RefusedToken;
use super::super::revocations::TOKEN_ID_BYTES_MAX;
use super::super::tokens::check_user;

/// Patterns of one token.
const PATTERNS_MAX: usize = 256;

/// How long a token may be good for, in seconds, and its key.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::access) struct Window {
    /// How far clocks may be off.
    pub(in crate::access) leeway: u64,
    /// How long it may have left.
    pub(in crate::access) lifetime_max: u64,
    /// How long a set of keys counts after it was fetched.
    pub(in crate::access) jwks_max_age: Duration,
}

/// The claims that count here. What else a token claims is for others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) exp: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<Seconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<serde_json::Value>,
    /// What its bearer may do; a key that is not known may have been meant to grant less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fanfare: Option<GrantConfig>,
}

/// Who a token says has issued it, before anything of it is verified: to be told by whose key to verify it.
#[derive(Debug, Deserialize)]
pub(super) struct ClaimedIssuer {
    #[serde(default)]
    pub(super) iss: Option<String>,
}

/// Unix seconds, with or without a fraction.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(from = "f64", into = "u64")]
pub(super) struct Seconds(pub(super) u64);

impl From<f64> for Seconds {
    fn from(seconds: f64) -> Self {
        Self(seconds as u64)
    }
}

impl From<Seconds> for u64 {
    fn from(Seconds(seconds): Seconds) -> Self {
        seconds
    }
}

/// What a good token says.
#[derive(Debug)]
pub(in crate::access) struct Verified {
    pub(in crate::access) user: Arc<str>,
    pub(in crate::access) rights: Rights,
    pub(in crate::access) token_id: Option<Box<str>>,
    pub(in crate::access) issued_at: Option<u64>,
    pub(in crate::access) expires_at_unix: u64,
    /// For how long from now on it is good, the leeway counted in. Not in whole seconds: of what has passed of this one it would
    /// be good for longer.
    pub(in crate::access) time_left: Duration,
    /// Whether its key is still one that counts.
    pub(in crate::access) key: Arc<End>,
}

/// Verifies a token by a key, and what it claims.
///
/// # Errors
/// [`RefusedToken`].
pub(super) fn verify(
    token: &str,
    key: &DecodingKey,
    end: &Arc<End>,
    validation: &Validation,
    window: Window,
) -> Result<Verified, RefusedToken> {
    let claims = decode::<Claims>(token, key, validation).map_err(|e| refused(e.kind()))?.claims;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = since_1970.as_secs();
    let Seconds(exp) = claims.exp;
    if exp > now.saturating_add(window.lifetime_max).saturating_add(window.leeway) {
        return Err(RefusedToken::TooLong);
    }
    let issued_at = claims.iat.map(u64::from);
    // It would be issued after whatever is revoked now.
    if issued_at.is_some_and(|issued_at| issued_at > now.saturating_add(window.leeway)) {
        return Err(RefusedToken::NotYetValid);
    }
    // Its revocation would be forgotten before it has expired.
    let lifetime_max = window.lifetime_max.saturating_add(2 * window.leeway);
    if issued_at.is_some_and(|issued_at| exp.saturating_sub(issued_at) > lifetime_max) {
        return Err(RefusedToken::TooLong);
    }
    check_user(&claims.sub).map_err(|what| wrong(format!("sub is no user: {what}")))?;
    if claims.jti.as_ref().is_some_and(|id| id.is_empty() || id.len() > TOKEN_ID_BYTES_MAX) {
        return Err(wrong(format!("jti has 1 to {TOKEN_ID_BYTES_MAX} bytes")));
    }
    let rights = match &claims.fanfare {
        Some(grants) => Rights::parse(grants)
            .map_err(|(right, why)| wrong(format!("fanfare.{}: {why}", right.as_str())))?,
        None => Rights::default(),
    };
    if rights.len() > PATTERNS_MAX {
        return Err(wrong(format!("fanfare holds more than {PATTERNS_MAX} patterns")));
    }
    Ok(Verified {
        user: claims.sub.into(),
        rights,
        token_id: claims.jti.map(Into::into),
        issued_at,
        expires_at_unix: exp,
        time_left: Duration::from_secs(exp.saturating_add(window.leeway)).saturating_sub(since_1970),
        key: Arc::clone(end),
    })
}

fn wrong(why: String) -> RefusedToken {
    RefusedToken::Claims(why)
}

fn refused(why: &ErrorKind) -> RefusedToken {
    match why {
        ErrorKind::ExpiredSignature => RefusedToken::Expired,
        ErrorKind::ImmatureSignature => RefusedToken::NotYetValid,
        ErrorKind::InvalidAudience => RefusedToken::Audience,
        ErrorKind::InvalidIssuer => RefusedToken::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => RefusedToken::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => RefusedToken::Issuer,
        ErrorKind::MissingRequiredClaim(claim) => wrong(format!("{claim} is missing, or of the wrong kind")),
        ErrorKind::InvalidClaimFormat(claim) => wrong(format!("{claim} is of the wrong kind")),
        ErrorKind::Json(e) => {
            let said = e.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            // It may quote a value, and not all of them are for everybody.
            let is_of_keys =
                ["missing field", "unknown field", "duplicate field"].iter().any(|s| said.starts_with(s));
            wrong(if is_of_keys {
                said.escape_debug().to_string()
            } else {
                "one is of the wrong kind".into()
            })
        }
        ErrorKind::InvalidSignature => RefusedToken::Signature,
        _ => RefusedToken::Malformed,
    }
}
