//! The code that is looked at: its files, their modules, and what these import. It must know neither plan nor rules.

pub(crate) mod files;
pub(crate) mod graph;
pub(crate) mod imports;
pub(crate) mod modules;
pub(crate) mod syntax;
