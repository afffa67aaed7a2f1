//! Configuration: the file, then the environment, then a few flags.
//!
//! It must not know what is done with a setting: it says what is set, and refuses what makes no sense.

mod env;
mod limits;
mod secrets;
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use fanfare_protocol::TopicRef;
use serde::{Deserialize, Serialize};

pub use env::{environment, overlay as overlay_environment};
pub use limits::LimitsConfig;
pub use server::ServerConfig;

pub use crate::access::config::{AccessConfig, GrantConfig, TokenConfig};
pub use crate::budget::config::MemoryConfig;
pub use crate::namespaces::config::{Keep, NamespaceConfig, Retention};
pub use crate::origin::{AllowedOrigin, InvalidOrigin, Origin};
pub use crate::setting::InvalidSetting;

/// The default configuration as a commented file: what `fanfare config default` prints.
pub const DEFAULT_FILE: &str = include_str!("config/default.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses, threads, start and stop.
    pub server: ServerConfig,
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
        let wrong = |key: &str, message: &str| Err(InvalidSetting::new(key, message).into());
        let limits = &self.limits;
        if limits.message_size.as_u64() == 0 || limits.message_size > ByteSize::gib(1) {
            return wrong("limits.message_size", "expected 1 byte to 1GiB");
        }
        if limits.message_fragments == 0 {
            return wrong("limits.message_fragments", "expected at least 1");
        }
        if limits.header_size < ByteSize::kib(8) || limits.header_size > ByteSize::mib(1) {
            return wrong("limits.header_size", "expected 8KiB to 1MiB");
        }
        if limits.header_count == 0 {
            return wrong("limits.header_count", "expected at least 1");
        }
        if limits.send_buffer < ByteSize::kib(8) || limits.send_buffer > ByteSize::gib(1) {
            return wrong("limits.send_buffer", "expected 8KiB to 1GiB");
        }
        for (key, duration) in [
            ("limits.message_timeout", limits.message_timeout),
            ("limits.handshake_timeout", limits.handshake_timeout),
            ("limits.ping_interval", limits.ping_interval),
        ] {
            if duration < Duration::from_millis(10) || duration > Duration::from_secs(86_400) {
                return wrong(key, "expected 10ms to 1day");
            }
        }
        let retained = self.memory.retained;
        if retained.as_u64() > 0 && retained < limits.message_size {
            return wrong("memory.retained", "expected at least limits.message_size, or 0B");
        }
        let in_flight = self.memory.in_flight;
        if in_flight.as_u64() > 0 && in_flight < limits.message_size {
            return wrong("memory.in_flight", "expected at least limits.message_size, or 0B");
        }
        self.check_namespaces()?;
        self.check_listeners()?;
        self.check_exposure()
    }

    fn check_namespaces(&self) -> Result<(), ConfigError> {
        for name in self.namespace.keys() {
            let wrong =
                |message: String| Err(InvalidSetting::new(format!("namespace.\"{name}\""), message).into());
            if name == "other" {
                return wrong("metrics call the namespaces that are not named here \"other\"".into());
            }
            // By what tells later which namespace a topic is in.
            match TopicRef::new(format!("{name}:topic")) {
                Ok(topic) if topic.namespace() == name => {}
                Ok(_) => {
                    return wrong(
                        "no topic is in it: a namespace is what stands before the first ':'".into(),
                    );
                }
                Err(e) => return wrong(format!("no topic is in it: {e}")),
            }
        }
        Ok(())
    }

    /// Two listeners cannot share an address, and the second to bind would be the one that says so.
    fn check_listeners(&self) -> Result<(), ConfigError> {
        let (public, admin) = (self.server.listen, self.server.admin_listen);
        let is_same_host =
            public.ip() == admin.ip() || public.ip().is_unspecified() || admin.ip().is_unspecified();
        if public.port() == 0 || public.port() != admin.port() || !is_same_host {
            return Ok(());
        }
        let why = format!("{admin} is the address of server.listen too: it needs a port of its own");
        Err(InvalidSetting::new("server.admin_listen", why).into())
    }

    /// A default must not let strangers in from the network.
    fn check_exposure(&self) -> Result<(), ConfigError> {
        let listen = self.server.listen;
        if listen.ip().is_loopback() || self.access.is_some() || self.server.insecure_open {
            return Ok(());
        }
        let why = format!(
            "{listen} can be reached from the network, and without an [access] section anybody there may \
             subscribe and publish; configure access, listen on 127.0.0.1, or say --insecure-open"
        );
        Err(InvalidSetting::new("server.listen", why).into())
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
