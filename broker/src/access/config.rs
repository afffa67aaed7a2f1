//! Who may do what, as it is configured: the section `access`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// What those may do who bring no credentials.
    pub anonymous: GrantConfig,
    /// What the bearers of tokens may do.
    pub token: Vec<TokenConfig>,
}

impl AccessConfig {
    /// An example in which everything is that can be configured, for the names and kinds of its keys; but a
    /// token is never written out.
    pub(crate) fn example() -> Self {
        let token = TokenConfig { token_file: Some(PathBuf::from("file")), ..TokenConfig::default() };
        Self { token: vec![token], ..Self::default() }
    }
}

/// Topic patterns: `*`, `room:*` or a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct GrantConfig {
    /// What may be subscribed to, and its history read.
    pub subscribe: Vec<String>,
    /// What may be published to.
    pub publish: Vec<String>,
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
    pub token_file: Option<PathBuf>,
    /// What may be subscribed to, and its history read.
    pub subscribe: Vec<String>,
    /// What may be published to.
    pub publish: Vec<String>,
}

/// Leaves the token out.
impl std::fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenConfig").field("user", &self.user).finish_non_exhaustive()
    }
}
