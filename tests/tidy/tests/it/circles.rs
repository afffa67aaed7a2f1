//! Files that import each other.

use crate::tree::Tree;

/// A crate of so many modules, each of which imports the next, and the last one the first.
fn circle(of: usize) -> Tree {
    let names: Vec<_> = (0..of).map(|n| format!("m{n}")).collect();
    let mods: String = names.iter().map(|name| format!("mod {name};\n")).collect();
    let mut tree = Tree::default().file("lib.rs", mods);
    for (n, name) in names.iter().enumerate() {
        tree = tree.file(&format!("{name}.rs"), format!("\nuse crate::m{}::Word;\n", (n + 1) % of));
    }
    tree.layer(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn four_files_may_import_each_other() {
    circle(1).passes();
    circle(2).passes();
    circle(4).passes();
}

#[test]
fn five_files_may_not() {
    circle(5).refused(&[
        "5 files import each other in a circle, 4 are the most: a/src/m0.rs, a/src/m1.rs, a/src/m2.rs, a/src/m3.rs, a/src/m4.rs\n",
        "a/src/m0.rs:2 imports crate::m1::Word of a/src/m1.rs",
        "a/src/m4.rs:2 imports crate::m0::Word of a/src/m0.rs",
        "Move the word that a/src/m0.rs needs, crate::m1::Word, down",
        "layers.toml",
    ]);
}

#[test]
fn a_long_way_is_no_circle() {
    circle(9).file("m8.rs", "").passes();
}

#[test]
fn the_shortest_way_round_is_told() {
    circle(6).file("m1.rs", "\n\nuse crate::m2::Word;\nuse crate::m0::Word;\n").refused(&[
        "6 files",
        "One way round:\n    a/src/m0.rs:2 imports crate::m1::Word of a/src/m1.rs\n    a/src/m1.rs:4 imports crate::m0::Word of \
         a/src/m0.rs\n",
    ]);
}

#[test]
fn a_way_round_between_wings_is_told_rather_than_one_within() {
    let children = ["a", "b", "c"];
    let mods: String = children.iter().map(|name| format!("mod {name};\n")).collect();
    let mut tree = Tree::default().file("lib.rs", "mod wing;\nmod other;\nmod third;\n");
    tree = tree
        .file("wing.rs", format!("//! A wing.\n{mods}use self::a::A;\nuse self::b::B;\nuse self::c::C;\n"));
    for name in children {
        tree = tree.file(&format!("wing/{name}.rs"), "use super::Face;");
    }
    tree = tree.file("wing/a.rs", "use super::Face;\nuse crate::other::Word;\n");
    tree = tree.file("other.rs", "use crate::third::Word;").file("third.rs", "use crate::wing::Face;");
    tree.layer(&["wing", "other", "third"]).refused(&[
        "6 files",
        "of a/src/third.rs",
        "of a/src/wing.rs",
        "of a/src/wing/a.rs",
        "of a/src/other.rs",
    ]);
}

#[test]
fn mod_lines_and_own_modules_are_no_imports() {
    let children = ["a", "b", "c", "d"];
    let mods: String = children.iter().map(|name| format!("mod {name};\nuse {name}::Word;\n")).collect();
    let mut tree =
        Tree::default().file("lib.rs", "mod wing;\n").file("wing.rs", format!("//! A wing.\n{mods}"));
    for name in children {
        tree = tree.file(&format!("wing/{name}.rs"), "use super::Face;");
    }
    tree.layer(&["wing"]).passes();
}

#[test]
fn what_tests_import_makes_no_circle() {
    let tree = circle(5).file("m4.rs", "#[cfg(test)]\nmod tests { use crate::m0::Word; }\n");
    tree.passes();
}
