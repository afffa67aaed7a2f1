//! Configuration: the file, then the environment, then a few flags. It nests the sections of the wings, each of which
//! checks itself.
//!
//! It must not know what is done with a setting: it says what is set, and refuses what makes no sense.

mod changes;
mod env;
mod limits;
mod secrets;
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::namespaces;

pub use changes::Changes;
pub use env::{environment, overlay as overlay_environment};
pub use limits::LimitsConfig;
pub use server::ServerConfig;
#[doc(hidden)]
pub use server::{JwksTimes, Shares};

pub use crate::access::admin::AdminConfig;
pub use crate::access::config::{AccessConfig, GrantConfig, JwtAlgorithm, JwtConfig, TokenConfig};
pub use crate::address::forwarded::ForwardedHeader;
pub use crate::address::networks::{InvalidNetwork, Network};
pub use crate::budget::config::MemoryConfig;
pub use crate::namespaces::config::{Keep, NamespaceConfig, Retention};
pub use crate::origin::{AllowedOrigin, InvalidOrigin, Origin};
pub use crate::rate::config::{InvalidRate, Rate, RateConfig, RateLimit};
pub use crate::right::Right;
pub use crate::setting::InvalidSetting;
pub use crate::tls::config::{ClientCertificates, InMemory, TlsConfig};

/// The default configuration as a commented file: what `fanfare config default` prints.
pub const DEFAULT_FILE: &str = include_str!("config/default.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses, threads, start and stop.
    pub server: ServerConfig,
    /// Who may ask the admin listener.
    pub admin: AdminConfig,
    /// Bounds of what a peer may do.
    pub limits: LimitsConfig,
    /// Bounds of the process as a whole.
    pub memory: MemoryConfig,
    /// Who may do what; nobody is asked where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessConfig>,
    /// What topics keep, by namespace.
    pub namespace: BTreeMap<String, NamespaceConfig>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable of the environment does not fit.
    #[error("environment variable {name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file is no configuration.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// Line, key and what is wrong.
        message: String,
    },
    /// The keys do not fit together, or a value is out of range.
    #[error(transparent)]
    Value(#[from] InvalidSetting),
}

impl Config {
    /// The configuration of that file (if any) and the [environment]; not yet [checked](Self::check).
    ///
    /// # Errors
    /// Names the file, line and key, or the variable, that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|e| ConfigError::File {
                path: path.display().to_string(),
                message: format!("cannot be read: {e}"),
            })?,
        };
        let path = file.map_or_else(String::new, |path| path.display().to_string());
        // Read on its own first: only here do errors know the line.
        toml::from_str::<Self>(&text)
            .map_err(|e| ConfigError::File { path: path.clone(), message: describe(&e, &text) })?;
        let table: toml::Table =
            text.parse().map_err(|e| ConfigError::File { path, message: describe(&e, &text) })?;
        overlay_environment(table, environment)
    }

    /// Checks what single values cannot show.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        self.memory.check(self.limits.message_size)?;
        if let Some(access) = &self.access {
            access.check()?;
        }
        namespaces::config::check(&self.namespace, self.access.is_some())?;
        Ok(self.server.check(self.access.is_some())?)
    }

    /// Free ports on loopback, two workers and no drain window: what tests want.
    pub fn for_tests() -> Self {
        let mut config = Self::default();
        config.server.listen.set_port(0);
        config.server.admin_listen.set_port(0);
        config.server.workers = 2;
        config.server.drain_window = Duration::ZERO;
        config
    }
}

/// What an address is to look like.
pub const ADDRESS_EXPECTED: &str = "expected an address and a port, as in 127.0.0.1:8000";

/// What is wrong with a value, with an example where the types' own messages have none.
fn with_example(message: &str) -> String {
    message
        .replace("invalid socket address syntax", ADDRESS_EXPECTED)
        .replace("expected parsable string", "expected a size, as in \"64KiB\"")
        .replace("expected a duration", "expected a duration, as in \"25s\"")
}

/// Line, key and reason of what is wrong in a file. Where secrets stand the value stays out.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let is_secret = secrets::may_be_wrong(text);
    let message =
        if is_secret { secrets::without_value(error.message()) } else { with_example(error.message()) };
    let Some(span) = error.span() else { return message };
    let before = &text[..span.start.min(text.len())];
    let line_number = before.matches('\n').count() + 1;
    let line = text.lines().nth(line_number - 1).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    match if is_secret { secrets::known_key(key) } else { Some(key) } {
        Some(key) => format!("line {line_number}: {message}: in `{key}`"),
        None => format!("line {line_number}: {message}"),
    }
}

#[cfg(test)]
mod tests;
