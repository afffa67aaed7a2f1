//! The environment: `FANFARE_SECTION__KEY`, laid over the file.

use std::ffi::OsString;

use serde::Deserialize;
use toml::{Table, Value};

use super::secrets::{is_secret, without_value};
use super::{AccessConfig, Config, ConfigError, DEFAULT_FILE, InvalidSetting, with_example};

const PREFIX: &str = "FANFARE_";
/// Ours, but not the broker's: what `fanfare pub`, `fanfare sub` and `fanfare admin` read.
const OF_CLIENTS: [&str; 5] = ["ADMIN_TOKEN", "ADMIN_URL", "CA_FILE", "TOKEN", "URL"];

/// The variables of this process whose names begin with `FANFARE_`, for [`Config::load`].
///
/// # Errors
/// Names the one that is not UTF-8. What is none of ours may be anything.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    std::env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| {
            let shown = name.to_string_lossy().into_owned();
            let text = |text: OsString| {
                text.into_string().map_err(|_| ConfigError::Environment {
                    name: shown.clone(),
                    message: "is not UTF-8".into(),
                })
            };
            Ok((text(name)?, text(value)?))
        })
        .collect()
}

/// The configuration of `table` with the variables of the environment laid over it. An empty variable
/// counts as unset.
///
/// # Errors
/// Names the variable that is unknown or does not fit.
pub fn overlay(
    mut table: Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let examples = examples();
    for (name, text) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if text.is_empty() || OF_CLIENTS.contains(&path) || is_service_link(path, &text) {
            continue;
        }
        let fail = |message: String| ConfigError::Environment { name: name.clone(), message };
        if !path.contains("__") {
            return Err(fail(
                "names no key, which is written FANFARE_SECTION__KEY, with two underscores".into(),
            ));
        }
        let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let value = value_like(example_at(&examples, &path), &text).map_err(fail)?;
        // On its own first, so that what is wrong with it is said of it.
        let mut alone = Table::new();
        insert(&mut alone, &path, value.clone()).map_err(fail)?;
        Config::deserialize(alone).map_err(|e| {
            fail(if is_secret(&path[0]) { without_value(e.message()) } else { with_example(e.message()) })
        })?;
        insert(&mut table, &path, value).map_err(fail)?;
    }
    Config::deserialize(table)
        .map_err(|e| InvalidSetting::new("configuration", without_value(e.message())).into())
}

/// Whether Kubernetes sets the variable, for each service by its name: `FANFARE_SERVICE_HOST`,
/// `FANFARE_PORT=tcp://10.0.0.1:8000`, `FANFARE_ADMIN_PORT_8001_TCP_ADDR`.
fn is_service_link(path: &str, text: &str) -> bool {
    let path = format!("_{path}");
    let is_address = path.ends_with("_PORT") && text.contains("://");
    is_address || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"].iter().any(|part| path.contains(part))
}

/// A value for every key, as the key's kind is. What is absent by default is not in the default file: the section
/// `access`, whose mere presence closes the broker.
fn examples() -> Table {
    let mut examples: Table = DEFAULT_FILE.parse().expect("the default file is TOML, a test says so");
    let access = Value::try_from(AccessConfig::example()).expect("a section is a table");
    examples.insert("access".to_owned(), access);
    examples
}

/// The value of the key at `path`; every namespace has the keys of the default one.
fn example_at<'a>(examples: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (mut at, mut keys) = (examples.get(path.first()?)?, &path[1..]);
    if path[0] == "namespace" {
        (at, keys) = (at.get("default")?, keys.get(1..)?);
    }
    keys.iter().try_fold(at, |at, key| at.get(key))
}

/// The text as a value of the same kind as the example. A table, or a list of them, is no text.
fn value_like(example: Option<&Value>, text: &str) -> Result<Value, String> {
    Ok(match example {
        Some(Value::Integer(_)) => {
            Value::Integer(text.parse().map_err(|_| format!("\"{text}\" is no whole number"))?)
        }
        Some(Value::Boolean(_)) => {
            Value::Boolean(text.parse().map_err(|_| format!("\"{text}\" is neither true nor false"))?)
        }
        Some(Value::Array(items)) if items.iter().all(Value::is_str) => list_of(text)?,
        _ => Value::String(text.to_owned()),
    })
}

fn list_of(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('[') {
        return Err("is a list, whose items are separated by commas, without brackets and quotes".into());
    }
    Ok(Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect()))
}

fn insert(table: &mut Table, path: &[String], value: Value) -> Result<(), String> {
    match path {
        [] => Err("names no key".into()),
        [key] => {
            table.insert(key.clone(), value);
            Ok(())
        }
        [section, rest @ ..] => {
            let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            insert(entry.as_table_mut().ok_or("names a key inside a value")?, rest, value)
        }
    }
}
