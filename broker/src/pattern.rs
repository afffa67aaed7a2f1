//! Patterns of topic names: one name, all that begin alike, or all; and the user's own place among them.
//!
//! Names are compared byte by byte: no case is folded, no percent-encoding undone, no Unicode made normal.

mod names;

use std::fmt;

use fanfare_protocol::TopicRef;

pub(crate) use names::Names;

/// Stands in a pattern for the id of whoever has it.
const USER: &str = "{user}";
/// What parts the segments of a name, of which the user's id may be one.
const SEPARATOR: char = ':';

/// A pattern of topic names: `*`, `room:*` or a name, in which `{user}` is the id of whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// What a name is to be, or to begin with.
    text: Box<str>,
    is_prefix: bool,
    /// Whether `{user}` is in it.
    is_of_user: bool,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{pattern}\" is no pattern, which is \"*\", \"room:*\" or a topic's name: {why}")]
pub(crate) struct InvalidPattern {
    pattern: String,
    why: String,
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        let wrong = |why: String| Err(InvalidPattern { pattern: pattern.escape_debug().to_string(), why });
        let (text, is_prefix) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        let parts: Vec<_> = text.split(USER).collect();
        if parts.iter().any(|part| part.contains(['{', '}'])) {
            return wrong(format!("of braces it knows {USER} alone"));
        }
        // Otherwise the place of one user would begin like that of another.
        let is_segment = |pair: &[&str]| {
            let (before, behind) = (pair[0], pair[1]);
            (before.is_empty() || before.ends_with(SEPARATOR))
                && (behind.starts_with(SEPARATOR) || behind.is_empty() && !is_prefix)
        };
        if !parts.windows(2).all(is_segment) || text.contains("{user}{user}") {
            return wrong(format!("{USER} stands between two '{SEPARATOR}', or at an end"));
        }
        let is_all = text.is_empty() && is_prefix;
        if let Err(e) = TopicRef::new(text.replace(USER, "u"))
            && !is_all
        {
            return wrong(e.to_string());
        }
        Ok(Self { text: text.into(), is_prefix, is_of_user: parts.len() > 1 })
    }

    /// Whether that name is one of these, for that user.
    fn matches(&self, name: &str, user: Option<&str>) -> bool {
        let mut rest = name;
        if self.is_of_user {
            let Some(user) = user.filter(|user| has_place(user)) else { return false };
            for (nth, part) in self.text.split(USER).enumerate() {
                let behind = if nth == 0 { Some(rest) } else { rest.strip_prefix(user) };
                let Some(behind) = behind.and_then(|rest| rest.strip_prefix(part)) else { return false };
                rest = behind;
            }
        } else {
            let Some(behind) = rest.strip_prefix(&*self.text) else { return false };
            rest = behind;
        }
        self.is_prefix || rest.is_empty()
    }

    /// The names that match for that user.
    fn names(&self, user: Option<&str>) -> Option<Names> {
        let text = match user.filter(|user| has_place(user)) {
            _ if !self.is_of_user => self.text.to_string(),
            Some(user) => self.text.replace(USER, user),
            None => return None,
        };
        Some(if self.is_prefix { Names::Prefix(text) } else { Names::Exact(text) })
    }
}

/// Whether a user has a place of its own: `a:b` would have one in the place of `a`.
fn has_place(user: &str) -> bool {
    !user.is_empty() && !user.contains(SEPARATOR)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.is_prefix { f.write_str("*") } else { Ok(()) }
    }
}

/// Some patterns, one of which is to match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Patterns(Box<[Pattern]>);

impl Patterns {
    /// The pattern that every name matches.
    pub(crate) fn all() -> Self {
        Self([Pattern { text: "".into(), is_prefix: true, is_of_user: false }].into())
    }

    /// Reads patterns.
    ///
    /// # Errors
    /// The first that is none.
    pub(crate) fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Self, InvalidPattern> {
        patterns.iter().map(|pattern| Pattern::parse(pattern.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// What matches here or there.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes that they take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.iter().map(|pattern| size_of::<Pattern>() + pattern.text.len()).sum()
    }

    /// Whether one of them matches, for that user.
    pub(crate) fn match_any(&self, name: &str, user: Option<&str>) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name, user))
    }

    /// The names that match, for that user.
    pub(crate) fn names(&self, user: Option<&str>) -> impl Iterator<Item = Names> {
        self.0.iter().filter_map(move |pattern| pattern.names(user))
    }

    /// Whether nothing matches, whoever has them.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `{user}` is in one of them.
    pub(crate) fn are_of_user(&self) -> bool {
        self.0.iter().any(|pattern| pattern.is_of_user)
    }

    /// How they are written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Pattern::to_string)
    }
}

#[cfg(test)]
mod tests;
