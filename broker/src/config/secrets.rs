//! What is said of a mistake where secrets stand: never the value, which may be a token.

use serde::Deserialize;
use toml::{Table, Value};

use super::{AccessConfig, AdminConfig};

/// The sections that hold secrets.
const SECTIONS: [&str; 2] = ["access", "admin"];
/// What begins like one of them, and is none.
const NO_SECTION: &str = "admin_listen";

/// Whether all in the section of that name is kept secret.
pub(super) fn is_secret(section: &str) -> bool {
    SECTIONS.contains(&section)
}

/// Whether what is wrong with a file may be where secrets stand.
pub(super) fn may_be_wrong(text: &str) -> bool {
    match text.parse::<Table>() {
        Ok(mut table) => {
            let is_wrong = |access: Value| AccessConfig::deserialize(access).is_err();
            table.remove("access").is_some_and(is_wrong)
                || table.remove("admin").is_some_and(|admin| AdminConfig::deserialize(admin).is_err())
        }
        // Where it is cannot be told.
        Err(_) => {
            let text = text.replace(NO_SECTION, "");
            SECTIONS.iter().any(|section| text.contains(section))
        }
    }
}

/// The key, unless it is none that is known to stand there: anything else may be a part of a token.
pub(super) fn known_key(key: &str) -> Option<&str> {
    let access = Value::try_from(AccessConfig::example()).expect("a section is a table");
    let admin = Value::try_from(AdminConfig::default()).expect("a section is a table");
    let name = key.trim_start_matches('[').trim_end_matches(']');
    let is_known = |part: &str| SECTIONS.contains(&part) || is_key(&access, part) || is_key(&admin, part);
    name.split('.').all(|part| is_known(part.trim())).then_some(key)
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
    if let Some((_, expected)) =
        message.strip_prefix("unknown variant `").and_then(|m| m.rsplit_once("`, expected "))
    {
        // What is expected has quotes of the same kind, so its begin is looked for from the front.
        let expected = message.split_once("`, expected ").map_or(expected, |(_, expected)| expected);
        return format!("unknown word, expected {expected}");
    }
    if !message.starts_with("invalid ") {
        return message.to_owned();
    }
    // The value may say "expected" too; what is expected comes last.
    let (found, expected) = message.rsplit_once(", expected ").unwrap_or((message, "something else"));
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}
