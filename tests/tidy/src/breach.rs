//! What a rule refuses, and the sentence that says what to do about it.

use std::fmt;

use crate::bounds::{CIRCLE_FILES_MAX, FILE_LINES_MAX, FUNCTION_LINES_MAX};
use crate::code::graph::Edge;

/// What the crate itself is called, where modules are named.
pub(crate) const CRATE: &str = "crate";

/// Something that may be an exception. Files are given from the top of the repository.
#[derive(Debug)]
pub(crate) enum Breach {
    /// A file is too long.
    File { file: String, lines: usize },
    /// A function is too long. `line` is where it begins.
    Function { file: String, line: usize, name: String, lines: usize },
    /// Files import each other; `round` is one way from a file back to itself.
    Circle { files: Vec<String>, round: Vec<Edge> },
    /// A module imports one of a higher layer, here for the first time.
    Arrow { from: String, to: String, at: Edge },
    /// A wing's face does not say what it is.
    Face { file: String },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, lines } => write!(
                f,
                "{file} has {lines} lines, {FILE_LINES_MAX} are the most: split it by what changes together"
            ),
            Self::Function { file, line, name, lines } => write!(
                f,
                "{file}:{line}: the function {name} has {lines} lines, {FUNCTION_LINES_MAX} are the most: give its \
                 steps names"
            ),
            Self::Circle { files, round } => circle(f, files, round),
            Self::Arrow { from, to, at } if to == CRATE => write!(
                f,
                "{}:{}: `{from}` imports {} from the top of the crate, which knows everybody: import it from the module \
                 in which it stands",
                at.from, at.line, at.path
            ),
            Self::Arrow { from, to, at } => write!(
                f,
                "{}:{}: `{from}` imports {} of `{to}`, which stands higher: move what it needs down, or hand it in from \
                 above",
                at.from, at.line, at.path
            ),
            Self::Face { file } => write!(
                f,
                "{file} is the face of a wing and does not say of what: begin it with a `//!` line that says what the \
                 wing is and what it must not know"
            ),
        }
    }
}

fn circle(f: &mut fmt::Formatter<'_>, files: &[String], round: &[Edge]) -> fmt::Result {
    let count = files.len();
    write!(
        f,
        "{count} files import each other in a circle, {CIRCLE_FILES_MAX} are the most: {}",
        files.join(", ")
    )?;
    write!(f, "\n  One way round:")?;
    for Edge { from, line, path, to } in round {
        write!(f, "\n    {from}:{line} imports {path} of {to}")?;
    }
    let Some(Edge { from, path, to, .. }) = round.first() else { return Ok(()) };
    write!(f, "\n  Move the word that {from} needs, {path}, down: below {to}, where both may import it")
}
