//! How files are found, and what their imports mean.

use crate::tree::Tree;

/// A crate whose module `low` says this, and may not import `high`.
fn low(text: &str) -> Tree {
    let tree = Tree::default().file("lib.rs", "mod high;\nmod low;\n").file("high.rs", "pub mod deep;\n");
    tree.file("high/deep.rs", "").file("low.rs", text).layer(&["low"]).layer(&["high"]).exception(
        // The face of `high` need not say what it is here.
        "rule = 'face', what = 'a/src/high.rs', why = 'made up'",
    )
}

#[test]
fn an_import_is_found_however_it_is_written() {
    for text in [
        "use crate::high;",
        "use crate::high::Word;",
        "use crate::high::deep::Word;",
        "use super::high::Word;",
        "use super::{high, low};",
        "use crate::{high::{self, Word}};",
        "use crate::{low, high::{deep::{Word as Other}}};",
        "pub use crate::high::*;",
        "pub(crate) use crate::high::Word as Other;",
        "fn f() { use crate::high::Word; }",
        "fn f() -> crate::high::Word { todo() }",
        "fn f() { super::high::word(); }",
        "fn f() { let word = Vec::<super::high::Word>::new(); }",
        "fn f() { assert!(crate::high::word()); }",
        "fn f() { select! { _ = super::high::deep::word() => {} } }",
        "macro_rules! m { () => { $crate::high::word() } }",
        "impl crate::high::Word for u8 {}",
        "mod inner { use super::super::high::Word; }",
        "mod inner { fn f() { self::super::super::high::word(); } }",
        "struct A { #[cfg(unix)] a: crate::high::Word }",
        "#[cfg(not(test))] use crate::high::Word;",
        "#[cfg(any(test, unix))] use crate::high::Word;",
    ] {
        let refusals = low(text).refusals();
        assert_eq!(refusals.len(), 1, "{text}: {refusals:?}");
        assert!(refusals[0].starts_with("a/src/low.rs:1: `low` imports "), "{refusals:?}");
    }
}

#[test]
fn what_is_no_import_is_none() {
    for text in [
        "use high::Word;",
        "use ::high::Word;",
        "use std::collections::high;",
        "// use crate::high::Word;",
        "/// See [`crate::high::Word`].\nstruct A;",
        "fn f() { let text = \"crate::high::Word\"; }",
        "fn f() { high::word(); self::word(); crate::low::word(); super::low::word(); }",
        "mod high { pub struct Word; } use self::high::Word;",
        "mod inner { use super::high::Word; }",
        "mod inner { pub(in crate::low) struct Word; }",
        "#[cfg(test)] use crate::high::Word;",
        "#[cfg(all(test, unix))] use crate::high::Word;",
        "#[cfg(test)] mod tests { use crate::high::Word; }",
        "#[cfg(test)] fn f() { crate::high::word(); }",
        "struct A; impl A { #[cfg(test)] fn f() { crate::high::word(); } }",
        "#[test] fn f() { crate::high::word(); }",
        "#[tokio::test] async fn f() { crate::high::word(); }",
        "fn f() { #[cfg(test)] let word = crate::high::word(); }",
    ] {
        let refusals = low(text).refusals();
        assert_eq!(refusals, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_for_tests_imports_what_it_likes() {
    low("#[cfg(test)] mod tests;")
        .file("low/tests.rs", "use crate::high::Word;")
        .exception("rule = 'face', what = 'a/src/low.rs', why = 'made up'")
        .passes();
}

#[test]
fn a_path_of_a_module_is_followed() {
    let tree = |path: &str, file: &str| {
        Tree::default()
            .file("lib.rs", format!("mod high;\n#[path = \"{path}\"]\nmod low;\n"))
            .file("high.rs", "")
            .file(file, "use crate::high::Word;")
            .layer(&["low"])
            .layer(&["high"])
    };
    tree("other.rs", "other.rs").refused(&["a/src/other.rs:1: `low` imports crate::high::Word of `high`"]);
    tree("./deep/../deep/other.rs", "deep/other.rs").refused(&["a/src/deep/other.rs:1: `low`"]);
}

#[test]
fn what_a_path_brings_in_has_its_modules_beside_it() {
    let tree = Tree::default()
        .file("lib.rs", "#[path = \"deep/low.rs\"]\nmod low;\nmod high;\n")
        .file("high.rs", "");
    let tree = tree.file("deep/low.rs", "mod word;").file("deep/word.rs", "use crate::high::Word;");
    tree.layer(&["low"]).layer(&["high"]).refused(&["a/src/deep/word.rs:1: `low` imports"]);
}

#[test]
fn a_module_may_have_another_file_in_another_build() {
    let tree = Tree::default()
        .file("lib.rs", "mod high;\n#[cfg_attr(not(feature = \"low\"), path = \"no_low.rs\")]\nmod low;\n")
        .file("high.rs", "")
        .layer(&["low"])
        .layer(&["high"]);
    let tree = tree.file("low.rs", "").file("no_low.rs", "use crate::high::Word;");
    tree.refused(&["a/src/no_low.rs:1: `low` imports"]);
}

#[test]
fn a_module_may_be_a_folder() {
    let tree = Tree::default().file("lib.rs", "mod high;\nmod low;\n").file("high.rs", "");
    let tree =
        tree.file("low/mod.rs", "//! A wing.\nmod word;\n").file("low/word.rs", "use crate::high::Word;");
    tree.layer(&["low"]).layer(&["high"]).refused(&["a/src/low/word.rs:1: `low` imports"]);
}

#[test]
fn a_file_belongs_to_a_crate() {
    Tree::default()
        .file("lib.rs", "")
        .file("lost.rs", "")
        .refused(&["a/src/lost.rs belongs to no crate", "`mod`"]);
}

#[test]
fn a_crate_is_known() {
    Tree::default()
        .file("lib.rs", "")
        .file("main.rs", "fn main() {}")
        .refused(&["a/src/main.rs begins a crate that", "does not know: give it layers"]);
}
