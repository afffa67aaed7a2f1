//! What the topics of a namespace keep, and how they are delivered: the section `namespace`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use fanfare_protocol::TopicRef;
use serde::{Deserialize, Serialize};

use super::OTHER;
use crate::right::Right;
use crate::setting::InvalidSetting;

/// The name of the namespace of topics that name none.
const DEFAULT: &str = "default";

/// What the topics of one namespace keep; what is absent is as in `default`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceConfig {
    /// Publications that a topic keeps, the newest ones; 0 keeps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_count: Option<usize>,
    /// Bytes of these publications together, at most; the newest one is kept whatever its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_size: Option<ByteSize>,
    /// The time for which they are kept after the last one.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub history_ttl: Option<Duration>,
    /// The time for which an idle topic knows its epoch and offset.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub position_ttl: Option<Duration>,
    /// The time for which a retry is recognised.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub duplicate_window: Option<Duration>,
    /// Memory that a topic's message ids take at most; 0 recognises no retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_size: Option<ByteSize>,
    /// The time for which publications gather at most that follow each other faster than they are delivered; zero has them
    /// gather never.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub gather_max: Option<Duration>,
    /// What those may do with its topics who bring no credentials, where access is configured. Not as in `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anonymous: Vec<Right>,
    /// What those may do with its topics who bring good ones, whatever these grant beside. Not as in `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authenticated: Vec<Right>,
}

/// What the topics of one namespace keep, every value known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// Publications kept for history.
    pub history_count: usize,
    /// Bytes of these publications together, at most.
    pub history_bytes: usize,
    /// How long after the last publication they are kept.
    pub history_ttl: Duration,
    /// How long an idle topic knows its position.
    pub position_ttl: Duration,
    /// How long a retry is recognised.
    pub duplicate_window: Duration,
    /// How much memory a topic's message ids may take.
    pub duplicate_bytes: usize,
    /// How long publications gather at most before they are delivered.
    pub gather_max: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            history_count: 256,
            history_bytes: 1024 * 1024,
            history_ttl: Duration::from_secs(5 * 60),
            position_ttl: Duration::from_secs(60 * 60),
            duplicate_window: Duration::from_secs(2 * 60),
            duplicate_bytes: 64 * 1024 * 1024,
            gather_max: Duration::from_millis(5),
        }
    }
}

impl Retention {
    /// What its topics remember of message ids.
    pub fn message_ids(&self) -> Keep {
        Keep { window: self.duplicate_window, bytes: self.duplicate_bytes }
    }
}

impl NamespaceConfig {
    /// What this says, and where it is silent `default`.
    pub fn resolve(&self, default: Retention) -> Retention {
        Retention {
            history_count: self.history_count.unwrap_or(default.history_count),
            history_bytes: self.history_size.map_or(default.history_bytes, |size| size.as_u64() as usize),
            history_ttl: self.history_ttl.unwrap_or(default.history_ttl),
            position_ttl: self.position_ttl.unwrap_or(default.position_ttl),
            duplicate_window: self.duplicate_window.unwrap_or(default.duplicate_window),
            duplicate_bytes: self
                .duplicate_size
                .map_or(default.duplicate_bytes, |size| size.as_u64() as usize),
            gather_max: self.gather_max.unwrap_or(default.gather_max),
        }
    }
}

/// Checks the names of the namespaces, and that rights in them count.
///
/// # Errors
/// Names one in which no topic can be, or which is the name of those that are not named; or rights that nobody would ask for.
pub(crate) fn check(
    namespaces: &BTreeMap<String, NamespaceConfig>,
    has_access: bool,
) -> Result<(), InvalidSetting> {
    for (name, namespace) in namespaces {
        check_rights(name, namespace, has_access)?;
        let wrong = |message| Err(InvalidSetting::new(format!("namespace.\"{name}\""), message));
        if name == OTHER {
            return wrong(format!("metrics call the namespaces that are not named here \"{OTHER}\""));
        }
        // By what tells later which namespace a topic is in.
        match TopicRef::new(format!("{name}:topic")) {
            Ok(topic) if topic.namespace() == name => {}
            Ok(_) => {
                return wrong("no topic is in it: a namespace is what stands before the first ':'".into());
            }
            Err(e) => return wrong(format!("no topic is in it: {e}")),
        }
    }
    Ok(())
}

fn check_rights(name: &str, namespace: &NamespaceConfig, has_access: bool) -> Result<(), InvalidSetting> {
    for (key, rights) in [("anonymous", &namespace.anonymous), ("authenticated", &namespace.authenticated)] {
        let wrong = |message| Err(InvalidSetting::new(format!("namespace.{name}.{key}"), message));
        match (rights.is_empty(), has_access, name) {
            (true, ..) => {}
            (false, false, _) => {
                return wrong(
                    "without a section [access] anybody may do everything: this would grant nothing",
                );
            }
            // They begin alike in nothing.
            (false, true, DEFAULT) => {
                return wrong("topics without a namespace are granted by their names, in [access]");
            }
            (false, true, _) => {}
        }
    }
    Ok(())
}

/// What a topic remembers of message ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The time for which an id is remembered; zero remembers none.
    pub window: Duration,
    /// Bytes of memory that the ids take at most.
    pub bytes: usize,
}
