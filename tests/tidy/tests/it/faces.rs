//! Wings and their faces.

use crate::tree::Tree;

fn wing(face: &str, text: &str) -> Tree {
    let tree = Tree::default().file("lib.rs", "mod wing;\n").file(face, format!("{text}mod part;\n"));
    tree.file("wing/part.rs", "").layer(&["wing"])
}

#[test]
fn a_face_says_what_its_wing_is() {
    for face in ["wing.rs", "wing/mod.rs"] {
        wing(face, "//! A wing: it must not know of others.\n").passes();
        wing(face, "//! A wing.\n#![allow(dead_code)]\n").passes();
        wing(face, "").refused(&[
            &format!("a/src/{face} is the face of a wing and does not say"),
            "`//!`",
            "layers.toml",
        ]);
        wing(face, "// A wing.\n").refused(&["the face of a wing"]);
        wing(face, "/// A part.\n").refused(&["the face of a wing"]);
    }
}

#[test]
fn a_file_without_a_folder_is_no_face() {
    Tree::default().file("lib.rs", "mod wing;\n").file("wing.rs", "").layer(&["wing"]).passes();
}
