//! Why a token is refused.

/// Why a token is refused. Of one whose signature was not verified a client is told no more than that it is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedToken {
    /// Nobody is known by it.
    #[error("the token is not known")]
    Unknown,
    /// It is longer than a token may be.
    #[error("the token is longer than 8 KiB")]
    TooLarge,
    /// It is neither a token of the configuration nor a signed one.
    #[error("the token is none of the configuration, and no signed one (JWT)")]
    Malformed,
    /// No key is configured for the way in which it says that it is signed.
    #[error("no key is configured for the algorithm that the token names")]
    Algorithm,
    /// No key is configured, or in a key set, that it can be signed by.
    #[error("no key is known by the id that the token names")]
    Key,
    /// The keys of a set are not there (yet).
    #[error("the keys that tell whose the token is are not there; try again a little later")]
    KeysMissing,
    /// It was signed by somebody else, or changed.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come: `nbf`, or `iat`, is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It expires later than a token may.
    #[error("the token is valid for longer than access.lifetime_max allows")]
    TooLong,
    /// It is for somebody else, or names an audience where none is configured, or none where one is.
    #[error("the token's audience (aud) is not the one that is configured, or none is and it names one")]
    Audience,
    /// Somebody else has issued it.
    #[error("the token is from another issuer")]
    Issuer,
    /// A claim is missing or wrong.
    #[error("the token's claims are wrong: {0}")]
    Claims(String),
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
}

impl RefusedToken {
    /// What a client is told, who may be anybody.
    pub(super) fn for_strangers(self) -> Self {
        match self {
            Self::TooLarge
            | Self::Malformed
            | Self::Algorithm
            | Self::Issuer
            | Self::Key
            | Self::Signature => Self::Unknown,
            why => why,
        }
    }

    /// How far it came: where several keys refuse a token it is the one that came farthest who knows why.
    pub(super) fn progress(&self) -> u8 {
        match self {
            Self::Unknown | Self::TooLarge | Self::Malformed | Self::Algorithm => 0,
            // Whoever verified a signature has found one of those that are for the issuer.
            Self::Issuer => 1,
            Self::Key => 2,
            Self::Signature => 3,
            // It may be by one of them.
            Self::KeysMissing => 4,
            _ => 5,
        }
    }
}
