//! Who may ask the admin listener: whoever brings one of its tokens. The section `admin`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::tokens::hash_of;
use super::{TOKEN_BYTES_MIN, TokenHash, digest, token_of};
use crate::setting::InvalidSetting;

/// Longest file that may hold a token, in bytes: what is longer is something else.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Who may ask the admin listener for more than whether it is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The tokens themselves, several at once so that they can be changed.
    #[serde(serialize_with = "unsaid")]
    pub tokens: Vec<String>,
    /// Files of which each holds a token.
    pub token_files: Vec<PathBuf>,
    /// The SHA-256 of tokens, in hexadecimal.
    pub token_sha256: Vec<String>,
    /// Whether metrics may be read without one.
    pub open_metrics: bool,
}

impl AdminConfig {
    /// Whether there is any.
    pub(crate) fn has_tokens(&self) -> bool {
        !(self.tokens.is_empty() && self.token_files.is_empty() && self.token_sha256.is_empty())
    }
}

/// Writes an empty list: a token is never written out.
fn unsaid<S: Serializer>(_: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(std::iter::empty::<&str>())
}

/// Leaves the tokens out.
impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig").field("open_metrics", &self.open_metrics).finish_non_exhaustive()
    }
}

/// The tokens of the admin listener, as they are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminTokens {
    digests: Vec<TokenHash>,
    are_metrics_open: bool,
}

impl AdminTokens {
    /// The tokens of a configuration. Reads the files.
    ///
    /// # Errors
    /// Names the key that is wrong, and quotes no token.
    pub fn new(config: &AdminConfig) -> Result<Self, InvalidSetting> {
        let mut digests = Vec::new();
        for token in &config.tokens {
            digests.push(hash(token.as_bytes()).map_err(|why| wrong("tokens", format!("a token {why}")))?);
        }
        for path in &config.token_files {
            let shown = path.display();
            let bytes =
                read(path).map_err(|why| wrong("token_files", format!("{shown} cannot be read: {why}")))?;
            let hash =
                hash(&bytes).map_err(|why| wrong("token_files", format!("the token in {shown} {why}")))?;
            digests.push(hash);
        }
        for text in &config.token_sha256 {
            let why = || wrong("token_sha256", "expected 64 hexadecimal digits".into());
            digests.push(hash_of(text).ok_or_else(why)?);
        }
        Ok(Self { digests, are_metrics_open: config.open_metrics })
    }

    /// Whether there is none, so that nobody could bring one.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether metrics may be read without a token.
    pub(crate) fn are_metrics_open(&self) -> bool {
        self.are_metrics_open
    }

    /// Whether that is one of them. Takes the same time whatever the token is, and for all that are none.
    pub(crate) fn admit(&self, token: &str) -> bool {
        let digest = digest(token);
        self.digests.iter().fold(false, |found, known| found | is_same(known, &digest))
    }
}

/// Whether two digests are the same, looked at to the end.
fn is_same(one: &TokenHash, other: &TokenHash) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

fn wrong(key: &str, why: String) -> InvalidSetting {
    InvalidSetting::new(format!("admin.{key}"), why)
}

fn hash(bytes: &[u8]) -> Result<TokenHash, String> {
    let token = token_of(bytes)?;
    if token.len() < TOKEN_BYTES_MIN {
        return Err(format!("is shorter than {TOKEN_BYTES_MIN} bytes"));
    }
    Ok(digest(&token))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::token_sha256;

    const TOKEN: &str = "an-admin-token-0";
    /// Of another one, `an-admin-token-1`.
    const OTHER: &str = "an-admin-token-1";

    fn tokens(text: &str) -> Result<AdminTokens, InvalidSetting> {
        AdminTokens::new(&toml::from_str(text).expect("well-formed"))
    }

    #[test]
    fn whoever_brings_any_of_the_tokens_is_admitted_and_nobody_else() {
        let config =
            format!("tokens = [\"{TOKEN}\"]\ntoken_sha256 = [\"{}\"]", token_sha256(OTHER).to_uppercase());
        let tokens = tokens(&config).expect("good");
        assert!(tokens.admit(TOKEN) && tokens.admit(OTHER));
        for bad in ["", "an-admin-token-", "an-admin-token-2", "an-admin-token-00", &token_sha256(TOKEN)] {
            assert!(!tokens.admit(bad), "{bad}");
        }
        assert!(!tokens.are_metrics_open());
        assert!(!AdminTokens::default().admit(""));
    }

    #[test]
    fn bad_tokens_are_refused_by_the_name_of_their_key_and_never_quoted() {
        const CANARY: &str = "canary";
        for (text, key) in [
            (format!("tokens = [\"{CANARY}\"]"), "admin.tokens"),
            (format!("tokens = [\"{CANARY} {TOKEN}\"]"), "admin.tokens"),
            (format!("token_sha256 = [\"{CANARY}\"]"), "admin.token_sha256"),
            ("token_files = [\"/nowhere/at/all\"]".to_owned(), "admin.token_files"),
            ("token_sha256 = [\"\u{e9}\u{e9}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]".to_owned(), "admin"),
        ] {
            let error = tokens(&text).unwrap_err().to_string();
            assert!(error.contains(key) && !error.contains(CANARY), "{error}");
        }
        let config: AdminConfig = toml::from_str(&format!("tokens = [\"{TOKEN}\"]")).expect("well-formed");
        assert!(!format!("{config:?}").contains(TOKEN));
        assert!(!toml::to_string(&config).expect("it can be written").contains(TOKEN));
    }
}
