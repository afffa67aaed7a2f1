//! What is said of a mistake where secrets stand: never the value, which may be a token.

use serde::Deserialize;
use toml::{Table, Value};

use super::AccessConfig;

/// The section that holds secrets.
const SECTION: &str = "access";
/// Whether all in the section of that name is kept secret.
pub(super) fn is_secret(section: &str) -> bool {
    section == SECTION
}

/// Whether what is wrong with a file may be where secrets stand.
pub(super) fn may_be_wrong(text: &str) -> bool {
    match text.parse::<Table>() {
        Ok(mut table) => {
            table.remove(SECTION).is_some_and(|access| AccessConfig::deserialize(access).is_err())
        }
        // Where it is cannot be told.
        Err(_) => text.contains(SECTION),
    }
}

/// The key, unless it is none that is known to stand there: anything else may be a part of a token.
pub(super) fn known_key(key: &str) -> Option<&str> {
    let section = Value::try_from(AccessConfig::example()).expect("a section is a table");
    let name = key.trim_start_matches('[').trim_end_matches(']');
    name.split('.').all(|part| part.trim() == SECTION || is_key(&section, part.trim())).then_some(key)
}

/// Whether that is a key anywhere in it.
fn is_key(value: &Value, name: &str) -> bool {
    match value {
        Value::Table(table) => table.iter().any(|(key, value)| key == name || is_key(value, name)),
        Value::Array(items) => items.iter().any(|item| is_key(item, name)),
        _ => false,
    }
}

/// serde's message without the value that it quotes:
/// ``invalid type: integer `7`, expected a string`` becomes `invalid type: integer, expected a string`.
pub(super) fn without_value(message: &str) -> String {
    if !message.starts_with("invalid ") {
        return message.to_owned();
    }
    // The value may say "expected" too; what is expected comes last.
    let (found, expected) = message.rsplit_once(", expected ").unwrap_or((message, "something else"));
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}
