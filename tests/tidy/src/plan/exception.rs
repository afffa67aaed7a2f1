//! Exceptions: what is not yet as it should be, by name and with a reason.

use serde::Deserialize;

use crate::breach::Breach;

/// One thing that a rule would refuse. `most` is what it may be meanwhile, so that it does not get worse.
#[derive(Debug, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields)]
pub enum Exception {
    /// A file that is too long.
    File {
        /// The file: `broker/src/topic.rs`.
        what: String,
        /// Its lines, at most.
        most: usize,
        /// Why it is so.
        why: String,
    },
    /// A function that is too long.
    Function {
        /// Its file and its name: `broker/src/topic.rs Topic::new`.
        what: String,
        /// Its lines, at most.
        most: usize,
        /// Why it is so.
        why: String,
    },
    /// Too many files that import each other in a circle.
    Circle {
        /// Any file of the circle.
        what: String,
        /// The files of the circle, at most.
        most: usize,
        /// Why it is so.
        why: String,
    },
    /// Imports from a lower into a higher layer.
    Arrow {
        /// The modules: `topic -> worker`.
        what: String,
        /// Why it is so.
        why: String,
    },
    /// A wing whose face does not say what it is.
    Face {
        /// The face: `broker/src/topic.rs`.
        what: String,
        /// Why it is so.
        why: String,
    },
}

/// How an exception fits a breach.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The exception names something else.
    Not,
    /// The exception names the breach, which is no worse than it may be.
    Within,
    /// The exception names the breach, but this is the most that it may be.
    Beyond(usize),
}

impl Exception {
    /// What the exception names.
    pub(crate) fn what(&self) -> &str {
        match self {
            Self::File { what, .. }
            | Self::Function { what, .. }
            | Self::Circle { what, .. }
            | Self::Arrow { what, .. }
            | Self::Face { what, .. } => what,
        }
    }

    /// Its reason.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::File { why, .. }
            | Self::Function { why, .. }
            | Self::Circle { why, .. }
            | Self::Arrow { why, .. }
            | Self::Face { why, .. } => why,
        }
    }

    pub(crate) fn fit(&self, breach: &Breach) -> Fit {
        let fit = |names: bool, is: usize, most: usize| match names {
            false => Fit::Not,
            true if is <= most => Fit::Within,
            true => Fit::Beyond(most),
        };
        match (self, breach) {
            (Self::File { what, most, .. }, Breach::File { file, lines }) => fit(what == file, *lines, *most),
            (Self::Function { what, most, .. }, Breach::Function { file, name, lines, .. }) => {
                fit(what.split_once(' ') == Some((file, name)), *lines, *most)
            }
            (Self::Circle { what, most, .. }, Breach::Circle { files, .. }) => {
                fit(files.contains(what), files.len(), *most)
            }
            (Self::Arrow { what, .. }, Breach::Arrow { from, to, .. }) => {
                fit(what.split_once(" -> ") == Some((from, to)), 1, 1)
            }
            (Self::Face { what, .. }, Breach::Face { file }) => fit(what == file, 1, 1),
            _ => Fit::Not,
        }
    }
}
