//! Imports from a lower into a higher layer.

use crate::tree::Tree;

fn three(ground: &str, middle: &str, top: &str) -> Tree {
    let tree =
        Tree::default().file("lib.rs", "mod ground;\nmod middle;\nmod top;\npub use crate::top::Top;\n");
    let tree = tree.file("ground.rs", ground).file("middle.rs", middle).file("top.rs", top);
    tree.layer(&["ground"]).layer(&["middle"]).layer(&["top"])
}

#[test]
fn arrows_go_down() {
    three("", "use crate::ground::Word;", "use crate::{ground, middle};").passes();
    three("", "\nuse crate::top::Word;\nuse crate::top::Other;", "").refused(&[
        "a/src/middle.rs:2: `middle` imports crate::top::Word of `top`, which stands higher: move",
        "layers.toml",
    ]);
    three("fn f() { crate::top::word() }", "", "")
        .refused(&["a/src/ground.rs:1: `ground` imports crate::top::word"]);
}

#[test]
fn the_crate_itself_is_above_all() {
    three("", "use crate::Top;", "")
        .refused(&["a/src/middle.rs:1: `middle` imports crate::Top from the top of the crate"]);
}

#[test]
fn neighbours_may_import_each_other() {
    let tree = Tree::default().file("lib.rs", "mod one;\nmod two;\n").layer(&["one", "two"]);
    tree.file("one.rs", "use crate::two;").file("two.rs", "use crate::one;").passes();
}

#[test]
fn what_is_within_a_module_stands_where_it_does() {
    let tree = Tree::default().file("lib.rs", "mod low;\nmod high;\n").file("high.rs", "");
    let tree =
        tree.file("low.rs", "//! A wing.\nmod deep;\n").file("low/deep.rs", "use super::super::high::Word;");
    tree.layer(&["low"])
        .layer(&["high"])
        .refused(&["a/src/low/deep.rs:1: `low` imports super::super::high::Word"]);
}

#[test]
fn each_module_has_a_layer() {
    let tree = Tree::default().file("lib.rs", "mod one;\nmod two;\n").file("one.rs", "").file("two.rs", "");
    tree.layer(&["one"])
        .refused(&["a/src/lib.rs: the module `two` is in no layer: say in", "where it belongs"]);
}

#[test]
fn a_module_in_a_file_of_others_has_a_layer() {
    let tree = Tree::default()
        .file("lib.rs", "mod one { pub struct Word; }\nmod two;\n")
        .file("two.rs", "use crate::one::Word;");
    tree.layer(&["two"])
        .layer(&["one"])
        .refused(&["a/src/two.rs:1: `two` imports crate::one::Word of `one`"]);
}

#[test]
fn a_module_of_tests_needs_no_layer() {
    Tree::default().file("lib.rs", "#[cfg(test)]\nmod tests;\n").file("tests.rs", "").passes();
}

#[test]
fn a_layer_names_modules_once() {
    let tree = || Tree::default().file("lib.rs", "mod one;\n").file("one.rs", "");
    tree()
        .layer(&["one"])
        .layer(&["two"])
        .refused(&["`two`, in a layer of a/src/lib.rs, is no module", "take it out"]);
    tree()
        .layer(&["one"])
        .layer(&["one"])
        .refused(&["`one` of a/src/lib.rs stands in two layers: leave one"]);
}
