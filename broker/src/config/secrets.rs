//! What is said of a mistake where secrets stand: never the value, which may be a token.

use serde::Deserialize;
use toml::Table;

use super::AccessConfig;

/// The section that holds secrets.
const SECTION: &str = "access";
/// The keys that may stand before a value in it. Anything else may be a part of a token.
const KEYS: [&str; 7] = [SECTION, "anonymous", "publish", "subscribe", "token", "token_file", "user"];

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

/// The key, unless it is none that is known.
pub(super) fn known_key(key: &str) -> Option<&str> {
    let name = key.trim_start_matches('[').trim_end_matches(']');
    name.split('.').all(|part| KEYS.contains(&part.trim())).then_some(key)
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
